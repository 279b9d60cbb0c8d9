package org.gemcut.core;

/** What went wrong, in words for the person who holds the phone: {@link #getMessage()} and what to do next. */
public class BundleException extends Exception {
    private static final long serialVersionUID = 1L;

    /** What kind of trouble: an app may choose a picture by it, the words are in the message. */
    public enum Kind {
        /** Something else was opened than a bundle. */
        NOT_A_BUNDLE,
        /** A file was changed, is missing, truncated, or doesn't belong there. */
        DAMAGED,
        /** Made by a newer Gemcut than this reader knows. */
        NEWER,
        /** Well formed, but the bundle can't do that, or not here. */
        UNSUPPORTED,
        /** Reading or writing failed: no room, no permission. */
        STORAGE,
        /** The program didn't run. */
        RUNTIME,
        /** The user stopped it. */
        STOPPED
    }

    private final Kind kind;
    private final String hint;

    public BundleException(Kind kind, String message, String hint) {
        this(kind, message, hint, null);
    }

    public BundleException(Kind kind, String message, String hint, Throwable cause) {
        super(message, cause);
        this.kind = kind;
        this.hint = hint;
    }

    public Kind kind() {
        return kind;
    }

    /** What to do next; never null, empty where nothing is known. */
    public String hint() {
        return hint == null ? "" : hint;
    }

    static BundleException damaged(String message) {
        return new BundleException(Kind.DAMAGED, message, "copy or export the bundle again");
    }

    static BundleException damaged(String message, Throwable cause) {
        return new BundleException(Kind.DAMAGED, message, "copy or export the bundle again", cause);
    }

    static BundleException stopped() {
        return new BundleException(Kind.STOPPED, "stopped", "");
    }

    /** An exception of Java's in words: its message, or its name where it has none. */
    static String words(Throwable error) {
        String message = error.getMessage();
        return message == null || message.isEmpty() ? error.getClass().getSimpleName() : message;
    }
}
