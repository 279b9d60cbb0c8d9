package org.gemcut.core;

/** A loaded program with its cache: one of ExecuTorch's, one of LiteRT's. Not for more than one thread. */
public interface Runner {
    /**
     * Feeds tokens at a position, in as many calls as the program wants.
     *
     * @param ids at least one
     * @param position of the first of them in the cache; 0 begins anew
     * @return logits of the last of them [vocabulary]
     * @throws BundleException the runtime refused, in words
     */
    float[] prefill(int[] ids, int position) throws BundleException;

    /** Feeds one token; returns the logits after it [vocabulary]. */
    float[] step(int token, int position) throws BundleException;

    /** Tokens that the cache holds. */
    int context();
}
