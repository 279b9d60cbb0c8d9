package compat;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** List.of for dx 1.7, which knows no static methods of interfaces, and for Android before 14. */
public final class ListOf {
    private ListOf() {}

    public static List of() {
        return Collections.emptyList();
    }

    public static List of(Object one) {
        return Collections.singletonList(one);
    }

    public static List of(Object one, Object two) {
        return Collections.unmodifiableList(Arrays.asList(one, two));
    }
}
