package android.provider;

import stubs.Stub;

public interface OpenableColumns {
    String DISPLAY_NAME = Stub.text();
    String SIZE = Stub.text();
}
