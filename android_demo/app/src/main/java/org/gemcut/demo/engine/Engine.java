package org.gemcut.demo.engine;

import java.io.Closeable;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.Runner;
import org.gemcut.demo.bundle.CheckedBundle;

/**
 * A runtime that runs bundles: all that the app knows of one.
 *
 * <p>One thread uses an engine at a time; only {@link #stop} may come from another. Open it before anything else.
 */
public interface Engine extends Closeable {
    /** Hears a reply as it comes, on the thread that generates. */
    interface Listener {
        /**
         * More text.
         *
         * @return false to stop the reply
         */
        boolean onText(String piece);
    }

    /**
     * Loads a bundle's program and tokenizer.
     *
     * @throws BundleException the runtime can't run it, in words: it lacks an operator, or refuses the file
     */
    void open(CheckedBundle bundle) throws BundleException;

    /**
     * The greedy reply to a prompt. Nothing of an earlier prompt is remembered: the prompt holds the whole chat.
     *
     * @param prompt as the bundle's template renders it, the text that begins it included
     * @param stopTexts texts that end a reply, beside the ids in the program; none of them is heard
     * @param listener hears it as it comes
     * @throws BundleException the prompt doesn't fit into the model's context, or the program failed
     */
    Generated generate(String prompt, List<String> stopTexts, Listener listener) throws BundleException;

    /** Ends the reply in progress after the next token; does nothing where there is none. */
    void stop();

    /** The program itself, for logits: valid until the next {@link #generate} or {@link #close}. */
    Runner runner() throws BundleException;

    /** The runtime's name, as manifests have it. */
    String runtime();

    /** The runtime's version as far as this app knows it, or "unknown". */
    String version();

    @Override
    void close();
}
