package android.hardware.camera2;

import stubs.Stub;

public final class CameraManager {
    public String[] getCameraIdList() throws CameraAccessException { throw Stub.only(); }
    public CameraCharacteristics getCameraCharacteristics(String id) throws CameraAccessException { throw Stub.only(); }
    public void setTorchMode(String id, boolean on) throws CameraAccessException { throw Stub.only(); }
}
