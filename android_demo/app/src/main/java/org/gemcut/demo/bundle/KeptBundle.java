package org.gemcut.demo.bundle;

import org.gemcut.core.Manifest;

/** One bundle of the store, as a list shows it. Its files haven't been checked yet: {@link BundleStore#open} does. */
public final class KeptBundle {
    /** SHA-256 of its manifest, in hex: what the store knows it by. */
    public final String sha256;

    public final String model;
    public final String runtime;
    public final String target;

    /** Of all its files. */
    public final long bytes;

    KeptBundle(Manifest manifest) {
        sha256 = manifest.sha256;
        model = manifest.model;
        runtime = manifest.runtimeName + " " + manifest.runtimeVersion;
        target = manifest.target;
        bytes = manifest.bytes();
    }
}
