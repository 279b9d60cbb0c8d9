package org.gemcut.core;

import com.google.gson.JsonArray;

/**
 * One prompt and what the float model makes of it: P positions are scored, K log-probabilities kept of each.
 *
 * <p>Position i is the one whose logits follow token ids[i] and predict ids[i + 1].
 */
public final class Golden {
    public final String id;

    /** chat, multi-turn, system, tool, result, thinking, long, or text: continued as it stands, without a template. */
    public final String kind;

    /** Messages and tools as the chat template takes them; see {@link Message#of} and {@link Tool#of}. */
    public final JsonArray messages;

    public final JsonArray tools;
    public final boolean generation;

    /** Rendered with thinking turned on. */
    public final boolean thinking;

    /** Whether an answer is expected, for which the bundle gets more room (Gemcut's prove.run). */
    public final boolean expected;

    /** The prompt's text, rendered by the template at export (or as it stands, of kind text). */
    public final String rendered;

    /** Prompt and scored continuation; the last id is the last target. */
    public final int[] ids;

    /** How many of the ids are the prompt's. */
    public final int promptLength;

    /** The first scored position; the others follow up to ids.length - 2. */
    public final int first;

    /** [P][K]: the likeliest ids, likeliest first, and their log-probabilities in nats. */
    public final int[][] topIds;

    public final float[][] topLogprobs;

    /** [P]: log-probabilities of the ids that follow. */
    public final float[] targetLogprobs;

    /** The float model's reply, with the stop id if it was reached (ended); its text is without that. */
    public final int[] greedyIds;

    public final String greedyText;
    public final boolean ended;

    /** [greedyIds.length]: log-probability of the likeliest minus that of the second at each step, in nats. */
    public final float[] margin;

    Golden(String id, String kind, JsonArray messages, JsonArray tools, boolean generation, boolean thinking, boolean expected,
            String rendered, int[] ids, int promptLength, int first, int[][] topIds, float[][] topLogprobs, float[] targetLogprobs,
            int[] greedyIds, String greedyText, boolean ended, float[] margin) {
        this.id = id;
        this.kind = kind;
        this.messages = messages;
        this.tools = tools;
        this.generation = generation;
        this.thinking = thinking;
        this.expected = expected;
        this.rendered = rendered;
        this.ids = ids;
        this.promptLength = promptLength;
        this.first = first;
        this.topIds = topIds;
        this.topLogprobs = topLogprobs;
        this.targetLogprobs = targetLogprobs;
        this.greedyIds = greedyIds;
        this.greedyText = greedyText;
        this.ended = ended;
        this.margin = margin;
    }

    /** P. */
    public int positions() {
        return topIds.length;
    }
}
