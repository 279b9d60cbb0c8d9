package org.gemcut.demo.engine;

import org.gemcut.core.BundleException;
import org.pytorch.executorch.ExecutorchRuntimeException;

/** What a runtime says, in words. */
final class Failures {
    // executorch/runtime/core/error.h
    private static final int NOT_SUPPORTED = 0x10;
    private static final int INVALID_ARGUMENT = 0x12;
    private static final int OPERATOR_MISSING = 0x14;
    private static final int NOT_FOUND = 0x20;
    private static final int MEMORY_FAILED = 0x21;
    private static final int ACCESS_FAILED = 0x22;
    private static final int INVALID_PROGRAM = 0x23;
    private static final int OUT_OF_RESOURCES = 0x25;
    private static final int INCOMPATIBLE_BLOB = 0x30;

    private Failures() {}

    /**
     * Whether a reply that had begun broke off at the end of the cache: ExecuTorch 1.3 takes the length for the reply's
     * alone, and goes on until the program refuses the position.
     */
    static boolean isCacheEnd(Throwable error) {
        return error instanceof ExecutorchRuntimeException
                && ((ExecutorchRuntimeException) error).getErrorCode() == INVALID_ARGUMENT;
    }

    static BundleException of(String what, Throwable error) {
        String said = error.getMessage();
        String words = said == null || said.isEmpty() ? error.getClass().getSimpleName() : said;
        return new BundleException(BundleException.Kind.RUNTIME, what + ": ExecuTorch says: " + words,
                "free some memory and try again, or export the bundle for this app's version of ExecuTorch", error);
    }

    static BundleException of(String what, int code) {
        return new BundleException(BundleException.Kind.RUNTIME,
                what + ": " + meaning(code) + " (ExecuTorch's error " + code + ")",
                "'gemcut check' says which bundles this app's version of ExecuTorch runs");
    }

    private static String meaning(int code) {
        switch (code) {
            case NOT_SUPPORTED:
                return "this version doesn't support it";
            case OPERATOR_MISSING:
                return "this version lacks an operator that the program needs";
            case NOT_FOUND:
                return "this version lacks a backend that the program needs";
            case MEMORY_FAILED:
            case OUT_OF_RESOURCES:
                return "there isn't enough memory";
            case ACCESS_FAILED:
                return "a file can't be read";
            case INVALID_PROGRAM:
                return "the program isn't one that this version reads";
            case INCOMPATIBLE_BLOB:
                return "the program was made for a newer backend than this version has";
            default:
                return "the runtime failed";
        }
    }
}
