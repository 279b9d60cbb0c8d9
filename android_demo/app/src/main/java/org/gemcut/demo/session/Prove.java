package org.gemcut.demo.session;

import java.util.Locale;
import org.gemcut.core.BundleException;
import org.gemcut.core.Comparison;
import org.gemcut.core.Goldens;
import org.gemcut.core.Progress;
import org.gemcut.core.Replay;
import org.gemcut.core.VerdictFile;
import org.gemcut.demo.bundle.CheckedBundle;
import org.gemcut.demo.engine.Engine;

/** "Prove on this phone": the bundle's goldens run here, and held against what the exporting machine recorded. */
public final class Prove {
    /** What came out. */
    public static final class Outcome {
        public final boolean passed;

        /** For the person: one line a fact. */
        public final String words;

        /** The verdict's file, for 'gemcut validate BUNDLE --from FILE'. */
        public final String verdict;

        Outcome(boolean passed, String words, String verdict) {
            this.passed = passed;
            this.words = words;
            this.verdict = verdict;
        }
    }

    private Prove() {}

    /**
     * Runs all goldens. A program that fails has a verdict, too.
     *
     * @param engine open, with that bundle
     * @param about what runs it, and where; with its memoryBefore; the peak of this process's memory is filled in
     * @param progress told of goldens; may stop it
     * @throws BundleException it was stopped, or the bundle's goldens can't be read
     */
    public static Outcome run(CheckedBundle bundle, Engine engine, VerdictFile.About about, Progress progress)
            throws BundleException {
        Goldens goldens = Goldens.read(bundle.bundle());
        about.runtimeName = engine.runtime();
        about.runtimeVersion = engine.version();
        try {
            Replay replay = Replay.run(goldens, engine.runner(), progress);
            Comparison comparison = Comparison.compare(goldens, replay.recorded);
            about.peakMemory = Math.max(0, Memory.peak() - about.memoryBefore);
            String verdict = VerdictFile.text(goldens, replay, comparison, about);
            return new Outcome(comparison.passed(), words(goldens, replay, comparison, about), verdict);
        } catch (BundleException error) {
            return refused(bundle, error, about);
        }
    }

    /**
     * The verdict of a bundle whose program couldn't be loaded, or broke off.
     *
     * @throws BundleException it was stopped, which is no verdict
     */
    public static Outcome refused(CheckedBundle bundle, BundleException why, VerdictFile.About about)
            throws BundleException {
        if (why.kind() == BundleException.Kind.STOPPED) {
            throw why;
        }
        about.peakMemory = Math.max(0, Memory.peak() - about.memoryBefore);
        String words = "Not proven: " + why.getMessage() + (why.hint().isEmpty() ? "" : "\n" + why.hint());
        return new Outcome(false, words, VerdictFile.refusal(bundle.manifest(), why, about));
    }

    private static String words(Goldens goldens, Replay replay, Comparison comparison, VerdictFile.About about) {
        StringBuilder text = new StringBuilder();
        int count = goldens.goldens.size();
        text.append(comparison.passed() ? "Proven: " : "Not proven: ");
        text.append(String.format(Locale.ROOT, "%d prompts gave%s what they gave at export%n", count,
                comparison.passed() ? "" : ", not all of them,"));
        text.append(String.format(Locale.ROOT, "largest difference of a log-probability %.3g (tolerance %.3g)%n",
                comparison.maxLogprobDiff, comparison.tolerance));
        text.append(String.format(Locale.ROOT, "mean KL %.2g (tolerance %.2g)%n",
                comparison.meanKl, comparison.toleranceKl));
        text.append(String.format(Locale.ROOT, "%.1f tokens per second, %.0f MB of memory at most",
                replay.tokensPerSecond(), about.peakMemory / 1e6));
        for (String failure : comparison.failures) {
            text.append('\n').append(failure);
        }
        return text.toString();
    }
}
