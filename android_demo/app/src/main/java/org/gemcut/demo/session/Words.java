package org.gemcut.demo.session;

import java.util.Locale;
import org.gemcut.core.BundleException;
import org.gemcut.core.Manifest;
import org.gemcut.demo.engine.Generated;

/** What a screen says, put together. */
public final class Words {
    private Words() {}

    /** An error: what is wrong, and what to do next. */
    public static String of(BundleException error) {
        String hint = error.hint();
        return error.getMessage() + (hint.isEmpty() ? "" : "\n" + hint);
    }

    /** A bundle's own account of itself, one line a fact. */
    public static String of(Manifest manifest) {
        StringBuilder text = new StringBuilder();
        text.append("Runtime: ").append(manifest.runtimeName).append(' ').append(manifest.runtimeVersion);
        if (manifest.runtimeOldest != null) {
            text.append(" (runs on ").append(manifest.runtimeOldest).append(" or later)");
        }
        text.append("\nMade for: ").append(manifest.target).append(", ").append(manifest.recipe);
        text.append("\nContext: ").append(manifest.context).append(" tokens");
        text.append("\nSize: ").append(megabytes(manifest.bytes()));
        String licence = manifest.licenceName.isEmpty() ? manifest.licenceId : manifest.licenceName;
        text.append("\nLicence: ").append(licence == null ? "not known" : licence);
        text.append("\n").append(manifest.proven ? "Proven at export" : "Not proven at export");
        for (String reason : manifest.unproven) {
            text.append("\n  ").append(reason);
        }
        return text.toString();
    }

    /** How fast a reply was, and what it took. */
    public static String of(Generated generated, long memory) {
        StringBuilder text = new StringBuilder();
        if (generated.tokensPerSecond > 0) {
            text.append(String.format(Locale.ROOT, "%.1f tokens per second, ", generated.tokensPerSecond));
        }
        text.append(String.format(Locale.ROOT, "first after %.2f s", generated.firstSeconds));
        if (memory > 0) {
            text.append(", ").append(megabytes(memory)).append(" of memory");
        }
        if (generated.ending == Generated.Ending.STOPPED) {
            text.append("\nStopped.");
        } else if (generated.ending == Generated.Ending.FULL) {
            text.append("\nThe model's context is full: begin a new chat.");
        }
        return text.toString();
    }

    public static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
    }
}
