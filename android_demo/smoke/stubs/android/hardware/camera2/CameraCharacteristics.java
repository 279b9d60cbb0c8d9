package android.hardware.camera2;

import stubs.Stub;

public final class CameraCharacteristics {
    public static final Key<Boolean> FLASH_INFO_AVAILABLE = null;
    public <T> T get(Key<T> key) { throw Stub.only(); }
    public static final class Key<T> {
    }
}
