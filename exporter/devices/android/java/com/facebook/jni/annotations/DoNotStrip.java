package com.facebook.jni.annotations;

/** Stand-in: says something to a shrinker, and nothing here. */
public @interface DoNotStrip {}
