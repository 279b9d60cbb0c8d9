package android.util;

/** Stand-in: writes to stderr. */
public final class Log {
  private Log() {}

  public static int e(String tag, String text) {
    return write("E", tag, text, null);
  }

  public static int e(String tag, String text, Throwable why) {
    return write("E", tag, text, why);
  }

  public static int w(String tag, String text) {
    return write("W", tag, text, null);
  }

  public static int i(String tag, String text) {
    return write("I", tag, text, null);
  }

  public static int d(String tag, String text) {
    return write("D", tag, text, null);
  }

  private static int write(String level, String tag, String text, Throwable why) {
    System.err.println(level + " " + tag + ": " + text + (why == null ? "" : ": " + why));
    return 0;
  }
}
