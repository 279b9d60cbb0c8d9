package android.app;

import stubs.Stub;

public class Activity extends android.view.ContextThemeWrapper {
    public static final int RESULT_OK = Stub.number();
    public Activity() {}
    protected void onCreate(android.os.Bundle state) { throw Stub.only(); }
    protected void onResume() { throw Stub.only(); }
    protected void onDestroy() { throw Stub.only(); }
    protected void onSaveInstanceState(android.os.Bundle state) { throw Stub.only(); }
    protected void onActivityResult(int request, int result, android.content.Intent data) { throw Stub.only(); }
    public void setContentView(android.view.View view) { throw Stub.only(); }
    public void setContentView(int layout) { throw Stub.only(); }
    public android.view.View findViewById(int id) { throw Stub.only(); }
    public final Application getApplication() { throw Stub.only(); }
    public final void runOnUiThread(Runnable what) { throw Stub.only(); }
    public boolean isDestroyed() { throw Stub.only(); }
    public android.content.Intent getIntent() { throw Stub.only(); }
    public void startActivityForResult(android.content.Intent intent, int request) { throw Stub.only(); }
    public void setTitle(CharSequence title) { throw Stub.only(); }
    public void finish() { throw Stub.only(); }
    public android.view.Window getWindow() { throw Stub.only(); }
}
