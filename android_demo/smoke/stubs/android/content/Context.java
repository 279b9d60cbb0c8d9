package android.content;

import stubs.Stub;

public abstract class Context {
    public static final String CAMERA_SERVICE = Stub.text();
    public static final String CONNECTIVITY_SERVICE = Stub.text();
    public static final String ACTIVITY_SERVICE = Stub.text();
    public abstract java.io.File getFilesDir();
    public abstract java.io.File getCacheDir();
    public abstract android.content.res.AssetManager getAssets();
    public abstract ContentResolver getContentResolver();
    public abstract android.content.pm.ApplicationInfo getApplicationInfo();
    public abstract Object getSystemService(String name);
    public abstract void startActivity(Intent intent);
    public final String getString(int id) { throw Stub.only(); }
    public final String getString(int id, Object... words) { throw Stub.only(); }
}
