package org.gemcut.core;

import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.Set;

/** Where a bundle's files lie: a folder, a stored zip, or an app's assets. Names are relative, with slashes. */
public interface BundleFiles extends Closeable {
    /** What to call it in messages. */
    String title();

    /** All files in it, those that don't belong there included. */
    Set<String> names() throws IOException;

    /** One file's bytes from its beginning; the caller closes it. */
    InputStream open(String name) throws IOException;

    /** Bytes of one file, or -1 where only reading would tell. */
    long size(String name) throws IOException;

    /** The file itself where it lies by itself on the disk (a runtime loads programs by path), else null. */
    File onDisk(String name);
}
