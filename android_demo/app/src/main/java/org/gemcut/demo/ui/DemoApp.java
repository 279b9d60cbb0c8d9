package org.gemcut.demo.ui;

import android.app.Application;
import java.io.File;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.gemcut.core.BundleException;
import org.gemcut.core.Progress;
import org.gemcut.demo.BuildConfig;
import org.gemcut.demo.bundle.BundleStore;
import org.gemcut.demo.bundle.CheckedBundle;
import org.gemcut.demo.engine.Engine;
import org.gemcut.demo.engine.Engines;
import org.gemcut.demo.session.Memory;

/** What outlives a screen: the store, the one bundle that is open, its engine, and the one thread that uses them. */
public final class DemoApp extends Application {
    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private BundleStore store;
    private CheckedBundle bundle;
    private Engine engine;
    private Conversation conversation;
    private long memoryBefore;

    /** Does something on the one thread that may touch bundles and engines. */
    void work(Runnable what) {
        worker.execute(what);
    }

    /** The bundles on this phone. On the worker. */
    BundleStore store() throws BundleException {
        if (store == null) {
            store = new BundleStore(new File(getFilesDir(), "bundles"));
        }
        return store;
    }

    /** Opens a bundle and checks every byte, or gives the one that is open already. On the worker. */
    CheckedBundle open(String sha256, Progress progress) throws BundleException {
        if (bundle == null || !bundle.manifest().sha256.equals(sha256)) {
            close();
            bundle = store().open(sha256, progress);
        }
        return bundle;
    }

    /** The engine of the bundle that is open, with the program loaded. On the worker. */
    Engine engine() throws BundleException {
        if (engine == null) {
            memoryBefore = Memory.now();
            Engine made = Engines.forBundle(bundle.manifest(), BuildConfig.EXECUTORCH);
            made.open(bundle);
            engine = made;
        }
        return engine;
    }

    /** Bytes that this process had resident before that engine was opened; 0 where it isn't known. On the worker. */
    long memoryBefore() {
        return memoryBefore;
    }

    /** The chat with the bundle that is open, begun where there is none. */
    synchronized Conversation conversation(String sha256) {
        if (conversation == null || !conversation.sha256.equals(sha256)) {
            conversation = new Conversation(this, sha256);
        }
        return conversation;
    }

    /** Frees the bundle that is open, and forgets its chat. On the worker. */
    void close() {
        synchronized (this) {
            // The chat with another bundle, which is about to be opened, stays.
            boolean ours = conversation != null && bundle != null;
            if (ours && conversation.sha256.equals(bundle.manifest().sha256)) {
                conversation = null;
            }
        }
        if (engine != null) {
            engine.close();
            engine = null;
        }
        if (bundle != null) {
            bundle.close();
            bundle = null;
        }
    }

    /** Removes a bundle from the phone. On the worker. */
    void remove(String sha256) throws BundleException {
        if (bundle != null && bundle.manifest().sha256.equals(sha256)) {
            close();
        }
        store().remove(sha256);
    }
}
