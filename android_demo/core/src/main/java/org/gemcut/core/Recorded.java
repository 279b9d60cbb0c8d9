package org.gemcut.core;

/** What a bundle did with one golden, on one machine. */
public final class Recorded {
    /** [P][K]: log-probabilities of the float model's likeliest ids, in nats. */
    public final float[][] logprobs;

    /** [P]: of the ids that follow. */
    public final float[] targetLogprobs;

    /** [P]: the likeliest ids. */
    public final int[] top1;

    /** The greedy reply, with its stop id where it reached one (ended). */
    public final int[] greedyIds;

    /** The reply's text without the stop, or null where nothing here could decode it. */
    public final String greedyText;

    public final boolean ended;

    public Recorded(float[][] logprobs, float[] targetLogprobs, int[] top1, int[] greedyIds, String greedyText,
            boolean ended) {
        this.logprobs = logprobs;
        this.targetLogprobs = targetLogprobs;
        this.top1 = top1;
        this.greedyIds = greedyIds;
        this.greedyText = greedyText;
        this.ended = ended;
    }
}
