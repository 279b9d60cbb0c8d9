package org.gemcut.demo.engine;

import org.gemcut.core.BundleException;
import org.gemcut.core.Manifest;

/** The engines of this app, by the name of the runtime in a bundle's manifest. */
public final class Engines {
    /** As manifests name them (Gemcut's RuntimeRecord). */
    static final String EXECUTORCH = "executorch";

    private static final String LITERT = "litert";

    private Engines() {}

    /**
     * A new engine for a bundle; nothing of it is loaded yet.
     *
     * <p>An engine for LiteRT-LM goes here: a class beside {@link ExecuTorchEngine} and one more line.
     *
     * @param manifest the bundle's
     * @param version of the runtime that the app was built with, or "unknown"
     * @throws BundleException this app has no engine for it
     */
    public static Engine forBundle(Manifest manifest, String version) throws BundleException {
        if (manifest.runtimeName.equals(EXECUTORCH)) {
            return new ExecuTorchEngine(version);
        }
        if (manifest.runtimeName.equals(LITERT)) {
            throw refusal("this bundle is for LiteRT-LM, which this app doesn't run yet");
        }
        throw refusal("this bundle is for " + manifest.runtimeName + ", which this app doesn't know");
    }

    private static BundleException refusal(String message) {
        return new BundleException(BundleException.Kind.UNSUPPORTED, message,
                "export it for ExecuTorch: gemcut export --runtime executorch");
    }
}
