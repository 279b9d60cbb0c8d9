package org.gemcut.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Set;
import java.util.TreeSet;

/** A bundle that is a folder. */
public final class FolderFiles implements BundleFiles {
    private final File folder;

    public FolderFiles(File folder) {
        this.folder = folder;
    }

    @Override
    public String title() {
        return folder.getName();
    }

    @Override
    public Set<String> names() throws IOException {
        if (!folder.isDirectory()) {
            throw new FileNotFoundException(folder.getName() + " is no folder");
        }
        Set<String> found = new TreeSet<String>();
        list(folder, "", found);
        return found;
    }

    /** A link to a folder is taken as a file, which then doesn't belong there: following it could lead anywhere. */
    private static void list(File at, String prefix, Set<String> found) throws IOException {
        File[] inside = at.listFiles();
        if (inside == null) {
            throw new IOException(at.getName() + " can't be listed");
        }
        for (File file : inside) {
            String name = prefix + file.getName();
            if (file.isDirectory() && !isLink(file)) {
                list(file, name + "/", found);
            } else {
                found.add(name);
            }
        }
    }

    private static boolean isLink(File file) throws IOException {
        File parent = file.getParentFile().getCanonicalFile();
        File here = new File(parent, file.getName());
        return !here.getCanonicalFile().equals(here.getAbsoluteFile());
    }

    @Override
    public InputStream open(String name) throws IOException {
        return new FileInputStream(new File(folder, name));
    }

    @Override
    public long size(String name) throws IOException {
        File file = new File(folder, name);
        if (!file.isFile()) {
            throw new FileNotFoundException(name + " is missing");
        }
        return file.length();
    }

    @Override
    public File onDisk(String name) {
        return new File(folder, name);
    }

    @Override
    public void close() {
        // Nothing is held open.
    }
}
