package com.facebook.jni;

/** Stand-in: fbjni throws it for a C++ exception. */
public class UnknownCppException extends CppException {
  public UnknownCppException() { super("Unknown"); }

  public UnknownCppException(String message) { super(message); }
}
