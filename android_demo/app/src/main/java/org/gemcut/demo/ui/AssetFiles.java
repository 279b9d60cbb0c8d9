package org.gemcut.demo.ui;

import android.content.res.AssetManager;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.Set;
import java.util.TreeSet;
import org.gemcut.core.BundleFiles;

/** The bundle in the app's own assets, in the folder "bundle". */
final class AssetFiles implements BundleFiles {
    private static final String FOLDER = "bundle";

    private final AssetManager assets;
    private final String title;

    AssetFiles(AssetManager assets, String title) {
        this.assets = assets;
        this.title = title;
    }

    /** Whether the app was built with one. */
    static boolean present(AssetManager assets) {
        try {
            String[] found = assets.list(FOLDER);
            return found != null && found.length > 0;
        } catch (IOException error) {
            return false;
        }
    }

    @Override
    public String title() {
        return title;
    }

    @Override
    public Set<String> names() throws IOException {
        Set<String> found = new TreeSet<String>();
        list("", found);
        return found;
    }

    /** An asset that has nothing below it is a file: there are no empty folders in an APK. */
    private void list(String prefix, Set<String> found) throws IOException {
        String[] inside = assets.list(prefix.isEmpty() ? FOLDER : FOLDER + "/" + prefix);
        if (inside == null || inside.length == 0) {
            if (!prefix.isEmpty()) {
                found.add(prefix);
            }
            return;
        }
        for (String each : inside) {
            list(prefix.isEmpty() ? each : prefix + "/" + each, found);
        }
    }

    @Override
    public InputStream open(String name) throws IOException {
        return assets.open(FOLDER + "/" + name);
    }

    @Override
    public long size(String name) {
        return -1; // of a compressed asset only reading would tell
    }

    @Override
    public File onDisk(String name) {
        return null;
    }

    @Override
    public void close() {
        // The assets are the app's.
    }
}
