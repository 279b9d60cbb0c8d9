package org.gemcut.demo.bundle;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import org.gemcut.core.Bundle;
import org.gemcut.core.BundleException;
import org.gemcut.core.BundleFiles;
import org.gemcut.core.FolderFiles;
import org.gemcut.core.Progress;

/**
 * The bundles in the app's storage, each in a folder named by its manifest's SHA-256.
 *
 * <p>What is added is copied into a folder of its own first, checked there byte for byte, and only then kept: a bundle
 * that is damaged or half copied never gets a name. What is opened is checked again, for storage decays too.
 */
public final class BundleStore {
    private static final String INCOMING = ".incoming-";

    private final File root;

    /** Opens the store, and removes what an interrupted copy left. */
    public BundleStore(File root) throws BundleException {
        this.root = root;
        Storage.make(root);
        for (File each : inside()) {
            if (each.getName().startsWith(INCOMING)) {
                Storage.remove(each);
            }
        }
    }

    private File[] inside() {
        File[] found = root.listFiles();
        if (found == null) {
            return new File[0];
        }
        Arrays.sort(found);
        return found;
    }

    /** The bundles that are kept; one whose manifest can't be read any more isn't among them. */
    public List<KeptBundle> list() {
        List<KeptBundle> kept = new ArrayList<KeptBundle>();
        for (File each : inside()) {
            if (each.getName().startsWith(INCOMING)) {
                continue;
            }
            try {
                Bundle bundle = Bundle.open(each);
                if (bundle.manifest.sha256.equals(each.getName())) {
                    kept.add(new KeptBundle(bundle.manifest));
                }
                bundle.close();
            } catch (BundleException error) {
                // Opening it by its name would say the same; a list has no place for it.
            }
        }
        return kept;
    }

    /**
     * Copies a bundle's files here and checks them; the files stay open.
     *
     * @param from the app's assets, or a folder
     * @param progress told of bytes, of the copy and then of the check; may stop it
     * @return the bundle's name in this store
     */
    public String add(BundleFiles from, Progress progress) throws BundleException {
        Bundle bundle = Bundle.open(from); // refuses at once what is no bundle, or a newer one
        if (isWhole(bundle.manifest.sha256, progress)) {
            return bundle.manifest.sha256;
        }
        long total = bundle.manifest.bytes();
        Storage.room(root, total, from.title());
        File incoming = incoming();
        try {
            long done = 0;
            for (String name : names(from)) {
                done += copy(from, Storage.safe(name, from.title()), incoming, progress, done, total);
            }
            return keep(incoming, from.title(), progress);
        } finally {
            discard(incoming);
        }
    }

    private static Set<String> names(BundleFiles from) throws BundleException {
        try {
            return from.names();
        } catch (IOException error) {
            throw unreadable(from.title(), error);
        }
    }

    private static long copy(BundleFiles from, String name, File to, Progress progress, long done, long total)
            throws BundleException {
        try {
            InputStream in = from.open(name);
            try {
                return Storage.copy(in, new File(to, name), progress, done, total, name);
            } finally {
                in.close();
            }
        } catch (IOException error) {
            throw unreadable(from.title() + ": " + name, error);
        }
    }

    /**
     * Unpacks a {@code .gemcut} file as it is read, so that it needs no room twice, and checks it.
     *
     * @param from the file's bytes; closed here
     * @param title what the person picked
     * @param total bytes of the file, or -1 where that isn't known
     * @param progress told of bytes, of the copy and then of the check; may stop it
     * @return the bundle's name in this store
     */
    public String addZip(InputStream from, String title, long total, Progress progress) throws BundleException {
        File incoming = incoming();
        try {
            if (total > 0) {
                Storage.room(root, total, title);
            }
            ZipInputStream zip = new ZipInputStream(from);
            try {
                unpack(zip, title, incoming, Math.max(total, 0), progress);
            } finally {
                zip.close();
            }
            return keep(incoming, title, progress);
        } catch (IOException error) {
            throw new BundleException(BundleException.Kind.DAMAGED,
                    title + " is truncated or was changed: " + Storage.words(error),
                    "copy or export the bundle again", error);
        } catch (IllegalArgumentException error) { // a name that isn't UTF-8
            throw new BundleException(BundleException.Kind.DAMAGED,
                    title + " is truncated or was changed: " + Storage.words(error),
                    "copy or export the bundle again", error);
        } finally {
            discard(incoming);
        }
    }

    private static void unpack(ZipInputStream zip, String title, File to, long total, Progress progress)
            throws BundleException, IOException {
        Set<String> seen = new TreeSet<String>();
        long done = 0;
        for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
            String name = Storage.safe(entry.getName(), title);
            if (!seen.add(name)) {
                throw new BundleException(BundleException.Kind.DAMAGED, title + " holds " + name + " twice",
                        "copy or export the bundle again");
            }
            done += Storage.copy(zip, new File(to, name), progress, done, total, name);
        }
        if (seen.isEmpty()) {
            throw new BundleException(BundleException.Kind.NOT_A_BUNDLE, title + " is not a bundle",
                    "choose a .gemcut file, as 'gemcut export --format zip' writes it");
        }
    }

    /** Checks what was copied, and gives it its name. */
    private String keep(File incoming, String title, Progress progress) throws BundleException {
        Bundle bundle = Bundle.open(new TitledFiles(new FolderFiles(incoming), title));
        String sha256 = bundle.manifest.sha256;
        try {
            bundle.verify(progress);
        } finally {
            bundle.close();
        }
        if (isWhole(sha256, progress)) {
            return sha256;
        }
        File home = new File(root, sha256);
        Storage.remove(home); // a damaged one, where there is any
        if (!incoming.renameTo(home)) {
            throw new BundleException(BundleException.Kind.STORAGE, title + " can't be put in its place",
                    "free some storage");
        }
        return sha256;
    }

    /** Whether such a bundle is kept, and none of its bytes has changed; one that is damaged is copied anew. */
    private boolean isWhole(String sha256, Progress progress) throws BundleException {
        if (!new File(root, sha256).isDirectory()) {
            return false;
        }
        try {
            open(sha256, progress).close();
            return true;
        } catch (BundleException error) {
            if (error.kind() == BundleException.Kind.STOPPED) {
                throw error;
            }
            return false;
        }
    }

    /**
     * Opens a bundle and checks every byte of it.
     *
     * @throws BundleException it isn't here, or was damaged since it was added; the message names the file
     */
    public CheckedBundle open(String sha256, Progress progress) throws BundleException {
        File home = new File(root, sha256);
        Bundle bundle = Bundle.open(new TitledFiles(new FolderFiles(home), "the bundle"));
        boolean whole = false;
        try {
            if (!bundle.manifest.sha256.equals(sha256)) {
                throw new BundleException(BundleException.Kind.DAMAGED, "the bundle isn't the one that was added",
                        "remove it and add it again");
            }
            bundle.verify(progress);
            whole = true;
            return new CheckedBundle(bundle, home);
        } finally {
            if (!whole) {
                bundle.close();
            }
        }
    }

    /** Forgets a bundle and frees its storage. */
    public void remove(String sha256) {
        if (sha256.indexOf('/') < 0 && !sha256.startsWith(".")) {
            Storage.remove(new File(root, sha256));
        }
    }

    private File incoming() throws BundleException {
        File folder = new File(root, INCOMING + System.nanoTime());
        Storage.make(folder);
        return folder;
    }

    private static void discard(File incoming) {
        if (incoming.exists()) {
            Storage.remove(incoming);
        }
    }

    private static BundleException unreadable(String title, IOException error) {
        return new BundleException(
                BundleException.Kind.STORAGE, title + " can't be read: " + Storage.words(error), "", error);
    }
}
