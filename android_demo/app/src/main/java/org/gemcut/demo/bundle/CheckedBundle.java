package org.gemcut.demo.bundle;

import java.io.Closeable;
import java.io.File;
import org.gemcut.core.Bundle;
import org.gemcut.core.BundleException;
import org.gemcut.core.Manifest;

/**
 * A bundle in the app's storage whose every byte was checked when it was opened. Engines take nothing else: the
 * runtimes don't verify what they load, and crash on a damaged program.
 */
public final class CheckedBundle implements Closeable {
    /** The forms that a bundle carries its tokenizer in, the one that every runtime reads first. */
    private static final String[] TOKENIZERS = {"tokenizer.json", "tokenizer.model"};

    private final Bundle bundle;
    private final File folder;

    /** Only {@link BundleStore} makes these, after it has checked the hashes. */
    CheckedBundle(Bundle bundle, File folder) {
        this.bundle = bundle;
        this.folder = folder;
    }

    public Bundle bundle() {
        return bundle;
    }

    public Manifest manifest() {
        return bundle.manifest;
    }

    /** The file that the runtime loads. */
    public File program() {
        return new File(folder, bundle.manifest.program);
    }

    /**
     * The tokenizer's file.
     *
     * @throws BundleException the bundle has none
     */
    public File tokenizer() throws BundleException {
        for (String name : TOKENIZERS) {
            if (bundle.has(name)) {
                return new File(folder, name);
            }
        }
        throw new BundleException(BundleException.Kind.UNSUPPORTED, bundle.title() + " holds no tokenizer",
                "export it again from a model that has one");
    }

    @Override
    public void close() {
        bundle.close();
    }
}
