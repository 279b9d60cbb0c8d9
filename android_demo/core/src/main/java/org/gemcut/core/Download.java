package org.gemcut.core;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;

/**
 * Downloads a {@code .gemcut} file that is too large to ship in an app. What has arrived stays, and the next call goes on
 * from there. Whether the bytes are right is the bundle's to say: call {@link Bundle#verify} before anything else.
 */
public final class Download {
    private static final int CHUNK = 1 << 18;
    private static final int PATIENCE = 30_000; // milliseconds without a byte
    private static final String PARTIAL = ".partial";

    private Download() {}

    /**
     * Fetches a file, unless it is there already.
     *
     * @param from an address that keeps its content: another version has another address
     * @param to the file; until it is whole, its bytes are in a file beside it
     * @param progress told of bytes; may stop it
     * @throws BundleException the server doesn't give it, the connection broke off, or there is no room
     */
    public static File fetch(URL from, File to, Progress progress) throws BundleException {
        if (to.isFile()) {
            return to;
        }
        File parent = to.getAbsoluteFile().getParentFile();
        if (!parent.isDirectory() && !parent.mkdirs()) {
            throw storage("no folder can be made for " + to.getName(), null);
        }
        File partial = new File(parent, to.getName() + PARTIAL);
        try {
            receive(from, partial, to.getName(), progress);
        } catch (IOException error) {
            throw new BundleException(BundleException.Kind.STORAGE,
                    "the download of " + to.getName() + " broke off: " + BundleException.words(error),
                    "try again: it goes on where it stopped", error);
        }
        if (!partial.renameTo(to)) {
            throw storage(to.getName() + " can't be put in its place", null);
        }
        return to;
    }

    private static void receive(URL from, File partial, String name, Progress progress)
            throws IOException, BundleException {
        long have = partial.length();
        HttpURLConnection connection = (HttpURLConnection) from.openConnection();
        try {
            connection.setConnectTimeout(PATIENCE);
            connection.setReadTimeout(PATIENCE);
            connection.setRequestProperty("Accept-Encoding", "identity"); // else the length would be another
            if (have > 0) {
                connection.setRequestProperty("Range", "bytes=" + have + "-");
            }
            int code = connection.getResponseCode();
            if (have > 0 && code == 416) { // nothing is left, or the file is another one: its hashes will tell
                return;
            }
            if (code != HttpURLConnection.HTTP_OK && code != HttpURLConnection.HTTP_PARTIAL) {
                throw new BundleException(BundleException.Kind.STORAGE,
                        "the server doesn't give " + name + ": it answers " + code, "try again later");
            }
            boolean goesOn = code == HttpURLConnection.HTTP_PARTIAL;
            String length = connection.getHeaderField("Content-Length");
            long rest = length == null ? -1 : Long.parseLong(length);
            room(partial, rest, name);
            keep(connection.getInputStream(), partial, goesOn ? have : 0, rest, name, progress);
        } finally {
            connection.disconnect();
        }
    }

    private static void room(File partial, long bytes, String name) throws BundleException {
        long free = partial.getAbsoluteFile().getParentFile().getUsableSpace();
        if (free < bytes) {
            throw storage("no room for " + name + ": " + Words.count(bytes) + " bytes are needed, " + Words.count(free)
                    + " are free", null);
        }
    }

    private static void keep(InputStream in, File partial, long have, long rest, String name, Progress progress)
            throws IOException, BundleException {
        long done = have;
        OutputStream out = new FileOutputStream(partial, have > 0);
        try {
            byte[] buffer = new byte[CHUNK];
            for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
                write(out, buffer, count, name);
                done += count;
                if (!progress.update(done, rest < 0 ? done : have + rest, name)) {
                    throw BundleException.stopped();
                }
            }
        } finally {
            out.close();
        }
        if (rest >= 0 && done < have + rest) {
            throw new IOException(Words.count(have + rest - done) + " bytes are missing");
        }
    }

    private static void write(OutputStream out, byte[] buffer, int count, String name) throws BundleException {
        try {
            out.write(buffer, 0, count);
        } catch (IOException error) {
            throw storage(name + " can't be written: " + BundleException.words(error), error);
        }
    }

    private static BundleException storage(String message, Throwable cause) {
        return new BundleException(BundleException.Kind.STORAGE, message, "free some storage", cause);
    }
}
