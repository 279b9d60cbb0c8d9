package org.gemcut.core;

import java.util.Arrays;

/** A runner of a program that takes so many tokens at once at most, as ExecuTorch's text prefiller feeds it. */
public abstract class ChunkedRunner implements Runner {
    private final int chunk;
    private final int context;

    /** For a bundle's program: its manifest says how long a chunk and the cache are. */
    protected ChunkedRunner(Manifest manifest) {
        this(manifest.prefillChunk, manifest.context);
    }

    protected ChunkedRunner(int chunk, int context) {
        this.chunk = chunk;
        this.context = context;
    }

    /**
     * One call of the program.
     *
     * @param ids 1 to chunk tokens
     * @param position of the first of them
     * @return logits of the last of them [vocabulary]
     */
    protected abstract float[] forward(int[] ids, int position) throws BundleException;

    @Override
    public final float[] prefill(int[] ids, int position) throws BundleException {
        if (ids.length == 0) {
            throw new IllegalArgumentException("nothing to prefill");
        }
        if (ids.length + position > context) {
            throw new BundleException(
                    BundleException.Kind.UNSUPPORTED,
                    (ids.length + position) + " tokens don't fit into the model's context of " + context,
                    "begin a new chat");
        }
        float[] logits = null;
        for (int first = 0; first < ids.length; first += chunk) {
            logits = forward(Arrays.copyOfRange(ids, first, Math.min(first + chunk, ids.length)), position + first);
        }
        return logits;
    }

    @Override
    public final float[] step(int token, int position) throws BundleException {
        return forward(new int[] {token}, position);
    }

    @Override
    public final int context() {
        return context;
    }
}
