package androidx.annotation;

/** Stand-in. */
public @interface Nullable {}
