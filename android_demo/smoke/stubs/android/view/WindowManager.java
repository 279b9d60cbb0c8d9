package android.view;

import stubs.Stub;

public interface WindowManager {
    class LayoutParams {
        public static final int FLAG_KEEP_SCREEN_ON = Stub.number();
    }
}
