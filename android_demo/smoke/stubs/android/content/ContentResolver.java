package android.content;

import stubs.Stub;

public abstract class ContentResolver {
    public final android.database.Cursor query(android.net.Uri uri, String[] columns, String selection, String[] arguments, String order) { throw Stub.only(); }
    public final java.io.InputStream openInputStream(android.net.Uri uri) throws java.io.FileNotFoundException { throw Stub.only(); }
    public final java.io.OutputStream openOutputStream(android.net.Uri uri, String mode) throws java.io.FileNotFoundException { throw Stub.only(); }
}
