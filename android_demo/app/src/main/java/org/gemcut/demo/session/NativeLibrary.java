package org.gemcut.demo.session;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;
import java.util.Locale;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/** The runtime's library as it lies in the installed app: its SHA-256 says in a verdict which one ran. */
public final class NativeLibrary {
    /** Of ExecuTorch's Android package. */
    public static final String EXECUTORCH = "libexecutorch.so";

    private NativeLibrary() {}

    /**
     * SHA-256 in hex of a library, or null where it isn't found.
     *
     * @param folder where Android unpacked libraries to, or left none
     * @param packages the app's APKs, its splits included
     * @param abi as this process runs
     */
    public static String sha256(String name, File folder, List<File> packages, String abi) {
        try {
            File unpacked = new File(folder, name);
            if (unpacked.isFile()) {
                return digest(new FileInputStream(unpacked));
            }
            for (File each : packages) {
                String found = inside(each, "lib/" + abi + "/" + name);
                if (found != null) {
                    return found;
                }
            }
        } catch (IOException error) {
            return null;
        }
        return null;
    }

    private static String inside(File file, String member) throws IOException {
        ZipFile zip = new ZipFile(file);
        try {
            ZipEntry entry = zip.getEntry(member);
            return entry == null ? null : digest(zip.getInputStream(entry));
        } finally {
            zip.close();
        }
    }

    private static String digest(InputStream from) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] buffer = new byte[1 << 16];
            for (int count = from.read(buffer); count >= 0; count = from.read(buffer)) {
                digest.update(buffer, 0, count);
            }
            StringBuilder hex = new StringBuilder();
            for (byte each : digest.digest()) {
                hex.append(String.format(Locale.ROOT, "%02x", each));
            }
            return hex.toString();
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error); // every Java has it
        } finally {
            from.close();
        }
    }
}
