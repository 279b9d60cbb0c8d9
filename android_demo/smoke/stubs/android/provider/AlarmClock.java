package android.provider;

import stubs.Stub;

public final class AlarmClock {
    public static final String ACTION_SET_ALARM = Stub.text();
    public static final String EXTRA_HOUR = Stub.text();
    public static final String EXTRA_MINUTES = Stub.text();
}
