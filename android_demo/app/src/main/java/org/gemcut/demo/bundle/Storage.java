package org.gemcut.demo.bundle;

import java.io.Closeable;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Locale;
import org.gemcut.core.BundleException;
import org.gemcut.core.Progress;

/** Writing into the app's storage, with errors in words. */
final class Storage {
    private static final int CHUNK = 1 << 18;
    private static final String FREE = "free some storage";

    private Storage() {}

    /**
     * A name that stays inside its folder, as the manifest's schema wants names.
     *
     * @throws BundleException it doesn't
     */
    static String safe(String name, String title) throws BundleException {
        boolean plain = !name.isEmpty() && name.indexOf('\\') < 0 && name.indexOf('\0') < 0 && name.indexOf(':') < 0;
        for (String part : name.split("/", -1)) {
            plain = plain && !part.isEmpty() && !part.equals(".") && !part.equals("..");
        }
        if (!plain) {
            throw new BundleException(BundleException.Kind.DAMAGED,
                    title + " holds a file whose name leads out of it: " + name, "don't trust where it came from");
        }
        return name;
    }

    static void make(File folder) throws BundleException {
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new BundleException(BundleException.Kind.STORAGE, "no folder can be made in the app's storage", FREE);
        }
    }

    static void room(File folder, long bytes, String title) throws BundleException {
        long free = folder.getUsableSpace();
        if (free < bytes) {
            throw new BundleException(BundleException.Kind.STORAGE,
                    "no room for " + title + ": it needs " + megabytes(bytes) + ", " + megabytes(free) + " are free",
                    FREE);
        }
    }

    static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
    }

    /** Copies a stream to a new file; returns its bytes. Failing to read is the caller's to word (IOException). */
    static long copy(InputStream from, File to, Progress progress, long done, long total, String what)
            throws BundleException, IOException {
        make(to.getParentFile());
        OutputStream out;
        try {
            out = new FileOutputStream(to);
        } catch (IOException error) {
            throw unwritten(what, error);
        }
        boolean written = false;
        try {
            long count = pump(from, out, progress, done, total, what);
            written = true;
            return count;
        } finally {
            close(out, what, written);
        }
    }

    private static long pump(InputStream from, OutputStream out, Progress progress, long done, long total, String what)
            throws BundleException, IOException {
        byte[] buffer = new byte[CHUNK];
        long size = 0;
        for (int count = from.read(buffer); count >= 0; count = from.read(buffer)) {
            try {
                out.write(buffer, 0, count);
            } catch (IOException error) {
                throw unwritten(what, error);
            }
            size += count;
            if (!progress.update(done + size, total, what)) {
                throw new BundleException(BundleException.Kind.STOPPED, "stopped", "");
            }
        }
        return size;
    }

    /** A disk that is full may say so only here; another error before it is the one to tell. */
    private static void close(Closeable out, String what, boolean tell) throws BundleException {
        try {
            out.close();
        } catch (IOException error) {
            if (tell) {
                throw unwritten(what, error);
            }
        }
    }

    private static BundleException unwritten(String what, IOException error) {
        return new BundleException(
                BundleException.Kind.STORAGE, what + " can't be written: " + words(error), FREE, error);
    }

    static String words(Throwable error) {
        String said = error.getMessage();
        return said == null || said.isEmpty() ? error.getClass().getSimpleName() : said;
    }

    /** Removes a folder and all in it; what can't be removed is tried again when the store is next opened. */
    static void remove(File file) {
        File[] inside = file.listFiles();
        if (inside != null) {
            for (File each : inside) {
                remove(each);
            }
        }
        if (!file.delete()) {
            file.deleteOnExit();
        }
    }
}
