package org.gemcut.demo.bundle;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.Set;
import org.gemcut.core.BundleFiles;

/** Files under another title: a person knows a bundle by the name it was picked by, not by where we keep it. */
final class TitledFiles implements BundleFiles {
    private final BundleFiles inner;
    private final String title;

    TitledFiles(BundleFiles inner, String title) {
        this.inner = inner;
        this.title = title;
    }

    @Override
    public String title() {
        return title;
    }

    @Override
    public Set<String> names() throws IOException {
        return inner.names();
    }

    @Override
    public InputStream open(String name) throws IOException {
        return inner.open(name);
    }

    @Override
    public long size(String name) throws IOException {
        return inner.size(name);
    }

    @Override
    public File onDisk(String name) {
        return inner.onDisk(name);
    }

    @Override
    public void close() throws IOException {
        inner.close();
    }
}
