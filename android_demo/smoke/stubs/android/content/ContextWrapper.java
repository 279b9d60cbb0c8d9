package android.content;

import stubs.Stub;

public class ContextWrapper extends Context {
    public ContextWrapper(Context base) {}
    public java.io.File getFilesDir() { throw Stub.only(); }
    public java.io.File getCacheDir() { throw Stub.only(); }
    public android.content.res.AssetManager getAssets() { throw Stub.only(); }
    public ContentResolver getContentResolver() { throw Stub.only(); }
    public android.content.pm.ApplicationInfo getApplicationInfo() { throw Stub.only(); }
    public Object getSystemService(String name) { throw Stub.only(); }
    public void startActivity(Intent intent) { throw Stub.only(); }
}
