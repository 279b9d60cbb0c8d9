package com.facebook.jni;

/** Stand-in: fbjni throws it for a C++ exception. */
public class CppException extends RuntimeException {
  public CppException(String message) { super(message); }
}
