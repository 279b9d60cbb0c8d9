package android.net;

import stubs.Stub;

public class ConnectivityManager {
    ConnectivityManager() {}
    public boolean isActiveNetworkMetered() { throw Stub.only(); }
}
