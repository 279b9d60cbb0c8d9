package org.gemcut.core;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Enumeration;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;

/** A bundle that is one stored zip ({@code .gemcut}): no member is compressed, so that they can be mapped. */
public final class ZipFiles implements BundleFiles {
    private final File file;
    private final ZipFile zip;

    /**
     * Reads the zip's directory.
     *
     * @throws IOException it can't be read, or isn't a zip
     * @throws ZipException it is a zip, but not one that Gemcut writes
     */
    public ZipFiles(File file) throws IOException {
        this.file = file;
        this.zip = new ZipFile(file);
        try {
            check();
        } catch (IOException error) {
            zip.close();
            throw error;
        }
    }

    private void check() throws IOException {
        Set<String> seen = new TreeSet<String>();
        for (Enumeration<? extends ZipEntry> all = zip.entries(); all.hasMoreElements();) {
            ZipEntry entry = all.nextElement();
            if (!seen.add(entry.getName())) {
                throw new ZipException("it holds " + entry.getName() + " twice");
            }
            if (entry.getMethod() != ZipEntry.STORED || entry.getSize() != entry.getCompressedSize()) {
                throw new ZipException(entry.getName() + " is compressed or encrypted; Gemcut stores it as it is");
            }
        }
    }

    @Override
    public String title() {
        return file.getName();
    }

    @Override
    public Set<String> names() {
        Set<String> found = new TreeSet<String>();
        for (Enumeration<? extends ZipEntry> all = zip.entries(); all.hasMoreElements();) {
            found.add(all.nextElement().getName());
        }
        return found;
    }

    private ZipEntry entry(String name) throws IOException {
        ZipEntry found = zip.getEntry(name);
        if (found == null) {
            throw new FileNotFoundException(name + " is missing");
        }
        return found;
    }

    @Override
    public InputStream open(String name) throws IOException {
        return zip.getInputStream(entry(name));
    }

    @Override
    public long size(String name) throws IOException {
        return entry(name).getSize();
    }

    @Override
    public File onDisk(String name) {
        return null;
    }

    @Override
    public void close() throws IOException {
        zip.close();
    }
}
