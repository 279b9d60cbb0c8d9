package org.gemcut.core;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.MessageDigest;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.ZipException;

/**
 * A bundle that has been opened: its manifest has been held against the manifest's own hash.
 *
 * <p>Call {@link #verify} before anything of it is run: the runtimes don't check what they load, and crash on a
 * damaged program.
 */
public final class Bundle implements Closeable {
    private static final int CHUNK = 1 << 20;
    /** What is read whole into memory: settings, tokenizers, goldens; never a program. */
    private static final long LARGEST_READ = 256L << 20;

    private final BundleFiles files;
    public final Manifest manifest;

    private Bundle(BundleFiles files, Manifest manifest) {
        this.files = files;
        this.manifest = manifest;
    }

    /** Opens a folder or a {@code .gemcut} file. */
    public static Bundle open(File path) throws BundleException {
        if (!path.exists()) {
            throw notABundle("there is no " + path.getName());
        }
        if (path.isDirectory()) {
            return open(new FolderFiles(path));
        }
        BundleFiles zip;
        try {
            zip = new ZipFiles(path);
        } catch (ZipException error) {
            if (path.getName().endsWith(".gemcut")) {
                throw BundleException.damaged(
                        path.getName() + ": truncated or changed: " + BundleException.words(error), error);
            }
            throw notABundle(path.getName() + " is not a bundle: " + BundleException.words(error));
        } catch (IOException error) {
            throw unreadable(path.getName(), error);
        } catch (IllegalArgumentException error) {
            throw BundleException.damaged(
                    path.getName() + ": truncated or changed: " + BundleException.words(error), error);
        }
        return openOrClose(zip);
    }

    /** Opens what lies anywhere; these files are closed with the bundle, and not where opening failed. */
    public static Bundle open(BundleFiles files) throws BundleException {
        Set<String> names;
        try {
            names = files.names();
        } catch (IOException error) {
            throw unreadable(files.title(), error);
        }
        byte[] data = names.contains(Manifest.NAME) ? whole(files, Manifest.NAME) : null;
        byte[] side = names.contains(Manifest.SIDE_NAME) ? whole(files, Manifest.SIDE_NAME) : null;
        boolean other = data == null ? side == null : side == null && !Manifest.isManifest(data);
        if (other) {
            throw notABundle(files.title() + " is not a bundle: it has no " + Manifest.NAME + " of Gemcut's");
        }
        if (data == null || side == null) {
            String missing = data == null ? Manifest.NAME : Manifest.SIDE_NAME;
            throw BundleException.damaged(files.title() + ": " + missing + " is missing");
        }
        return new Bundle(files, Manifest.read(data, side, files.title()));
    }

    private static Bundle openOrClose(BundleFiles files) throws BundleException {
        boolean opened = false;
        try {
            Bundle bundle = open(files);
            opened = true;
            return bundle;
        } finally {
            if (!opened) {
                closeQuietly(files);
            }
        }
    }

    /** What to call it in messages: the folder's or the file's name. */
    public String title() {
        return files.title();
    }

    /** Whether the bundle holds this file. */
    public boolean has(String name) {
        return manifest.files.containsKey(name);
    }

    /**
     * Checks every byte: sizes, SHA-256, nothing missing, nothing that doesn't belong there.
     *
     * @param progress told of bytes; may stop it
     * @throws BundleException it isn't what was exported; the message names the file
     */
    public void verify(Progress progress) throws BundleException {
        Set<String> present;
        try {
            present = files.names();
        } catch (IOException error) {
            throw unreadable(title(), error);
        }
        Set<String> wanted = new TreeSet<String>(manifest.files.keySet());
        wanted.add(Manifest.NAME);
        wanted.add(Manifest.SIDE_NAME);
        for (String name : wanted) {
            if (!present.contains(name)) {
                throw BundleException.damaged(title() + ": " + name + " is missing");
            }
        }
        for (String name : present) {
            if (!wanted.contains(name)) {
                throw new BundleException(
                        BundleException.Kind.DAMAGED,
                        title() + ": " + name + " doesn't belong to the bundle",
                        "move it out of the bundle, or copy or export the bundle again");
            }
        }
        byte[] data = whole(files, Manifest.NAME);
        Manifest now = Manifest.read(data, whole(files, Manifest.SIDE_NAME), title());
        if (!now.sha256.equals(manifest.sha256)) {
            throw BundleException.damaged(title() + ": " + Manifest.NAME + " changed since it was opened");
        }
        long done = 0;
        for (String name : manifest.files.keySet()) {
            pass(name, null, progress, done, manifest.bytes());
            done += manifest.files.get(name).size;
        }
    }

    /** A file's content, held against its hash. Not for programs: those are loaded by path ({@link #file}). */
    public byte[] read(String name) throws BundleException {
        Manifest.Entry entry = entry(name);
        if (entry.size > LARGEST_READ) {
            throw new BundleException(
                    BundleException.Kind.UNSUPPORTED, title() + ": " + name + " is too large to be read at once", "");
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream((int) entry.size);
        pass(name, out, Progress.NONE, 0, entry.size);
        return out.toByteArray();
    }

    /** A text file's content, held against its hash. */
    public String text(String name) throws BundleException {
        return Json.text(read(name), title() + ": " + name);
    }

    /**
     * A file as a path, as runtimes want their program and tokenizer.
     *
     * <p>A folder's own file is given as it lies there. Out of a zip or an app's assets it is copied to a folder,
     * and checked as it is copied; a copy that is there already is checked and used again.
     *
     * @param folder where copies may stay
     */
    public File file(String name, File folder, Progress progress) throws BundleException {
        Manifest.Entry entry = entry(name);
        File lies = files.onDisk(name);
        if (lies != null) {
            return lies;
        }
        // Two bundles' programs have the same name: the hash tells them apart.
        File target = new File(new File(folder, entry.sha256.substring(0, 16)), new File(name).getName());
        if (target.isFile() && target.length() == entry.size && sameHash(target, entry, name, progress)) {
            return target;
        }
        copy(name, entry, target, progress);
        return target;
    }

    private boolean sameHash(File target, Manifest.Entry entry, String name, Progress progress)
            throws BundleException {
        try {
            InputStream source = new java.io.FileInputStream(target);
            try {
                MessageDigest digest = Hash.sha256();
                pump(source, null, digest, entry.size, progress, 0, entry.size, name);
                return Hash.hex(digest.digest()).equals(entry.sha256);
            } finally {
                closeQuietly(source);
            }
        } catch (IOException error) {
            return false;
        }
    }

    private void copy(String name, Manifest.Entry entry, File target, Progress progress) throws BundleException {
        File parent = target.getParentFile();
        if (!parent.isDirectory() && !parent.mkdirs()) {
            throw new BundleException(
                    BundleException.Kind.STORAGE, "no folder can be made for " + name, "free some storage");
        }
        if (parent.getUsableSpace() < entry.size) {
            throw new BundleException(
                    BundleException.Kind.STORAGE,
                    "no room for " + name + ": " + Words.count(entry.size) + " bytes are needed, "
                            + Words.count(parent.getUsableSpace()) + " are free",
                    "free some storage");
        }
        File partial = new File(parent, target.getName() + ".partial");
        boolean done = false;
        try {
            OutputStream sink = new FileOutputStream(partial);
            try {
                pass(name, sink, progress, 0, entry.size);
            } finally {
                sink.close();
            }
            done = partial.renameTo(target);
        } catch (IOException error) {
            throw new BundleException(
                    BundleException.Kind.STORAGE,
                    name + " can't be copied: " + BundleException.words(error), "free some storage", error);
        } finally {
            if (!done && !partial.delete()) {
                partial.deleteOnExit();
            }
        }
        if (!done) {
            throw new BundleException(
                    BundleException.Kind.STORAGE, name + " can't be put in its place", "free some storage");
        }
    }

    private Manifest.Entry entry(String name) throws BundleException {
        Manifest.Entry found = manifest.files.get(name);
        if (found == null) {
            throw BundleException.damaged(title() + ": holds no " + name);
        }
        return found;
    }

    /** Reads a file from beginning to end, through its hash, to a sink where there is one. */
    private void pass(String name, OutputStream sink, Progress progress, long done, long total)
            throws BundleException {
        Manifest.Entry entry = entry(name);
        MessageDigest digest = Hash.sha256();
        long said;
        long size;
        try {
            said = files.size(name);
            size = said >= 0 && said != entry.size ? said : stream(name, sink, digest, entry, progress, done, total);
        } catch (SinkException error) {
            throw new BundleException(
                    BundleException.Kind.STORAGE,
                    name + " can't be copied: " + BundleException.words(error), "free some storage", error);
        } catch (IOException error) {
            throw BundleException.damaged(title() + ": " + name + " can't be read: " + BundleException.words(error),
                    error);
        }
        if (size != entry.size) {
            String what = size < entry.size ? " is truncated" : " is too long";
            // A stream that was too long has not been read to its end.
            String many = size > entry.size && said != size ? "more" : Words.count(size);
            throw BundleException.damaged(
                    title() + ": " + name + what + ": " + many + " bytes instead of " + Words.count(entry.size));
        }
        String found = Hash.hex(digest.digest());
        if (!found.equals(entry.sha256)) {
            throw BundleException.damaged(title() + ": " + name + " was changed or swapped: its SHA-256 is "
                    + found.substring(0, 12) + "\u2026, the manifest has " + entry.sha256.substring(0, 12) + "\u2026");
        }
    }

    private long stream(String name, OutputStream sink, MessageDigest digest, Manifest.Entry entry, Progress progress,
            long done, long total) throws IOException, BundleException {
        InputStream source = files.open(name);
        try {
            return pump(source, sink, digest, entry.size, progress, done, total, name);
        } finally {
            closeQuietly(source);
        }
    }

    /** Bytes that were there; one more than the limit where there were more than that. */
    private static long pump(InputStream source, OutputStream sink, MessageDigest digest, long limit,
            Progress progress, long done, long total, String name) throws IOException, BundleException {
        byte[] buffer = new byte[CHUNK];
        long size = 0;
        if (!progress.update(done, total, name)) {
            throw BundleException.stopped();
        }
        for (int count = source.read(buffer); count >= 0; count = source.read(buffer)) {
            size += count;
            if (size > limit) {
                return size;
            }
            digest.update(buffer, 0, count);
            if (sink != null) {
                write(sink, buffer, count);
            }
            if (!progress.update(done + size, total, name)) {
                throw BundleException.stopped();
            }
        }
        return size;
    }

    /** The phone is full, rather than the bundle unreadable. */
    private static final class SinkException extends IOException {
        private static final long serialVersionUID = 1L;

        SinkException(IOException cause) {
            super(BundleException.words(cause), cause);
        }
    }

    private static void write(OutputStream sink, byte[] buffer, int count) throws SinkException {
        try {
            sink.write(buffer, 0, count);
        } catch (IOException error) {
            throw new SinkException(error);
        }
    }

    /** The manifest and its hash, which no hash is known of yet. */
    private static byte[] whole(BundleFiles files, String name) throws BundleException {
        try {
            InputStream source = files.open(name);
            try {
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                byte[] buffer = new byte[1 << 16];
                for (int count = source.read(buffer); count >= 0; count = source.read(buffer)) {
                    out.write(buffer, 0, count);
                    if (out.size() > 16 << 20) {
                        throw BundleException.damaged(files.title() + ": " + name + " is far too long");
                    }
                }
                return out.toByteArray();
            } finally {
                closeQuietly(source);
            }
        } catch (IOException error) {
            throw BundleException.damaged(
                    files.title() + ": " + name + " can't be read: " + BundleException.words(error), error);
        }
    }

    private static BundleException notABundle(String message) {
        return new BundleException(
                BundleException.Kind.NOT_A_BUNDLE, message,
                "choose the folder or the .gemcut file that gemcut export wrote");
    }

    private static BundleException unreadable(String title, IOException error) {
        return new BundleException(
                BundleException.Kind.STORAGE, title + " can't be read: " + BundleException.words(error), "", error);
    }

    private static void closeQuietly(Closeable what) {
        try {
            what.close();
        } catch (IOException error) {
            // What was read from it has been checked already.
        }
    }

    @Override
    public void close() {
        closeQuietly(files);
    }
}
