package stubs;

public final class Stub {
    private Stub() {}
    public static RuntimeException only() { return new UnsupportedOperationException("compile-only"); }
    public static String text() { return ""; }
    public static int number() { return 0; }
}
