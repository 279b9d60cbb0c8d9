package org.gemcut.demo.engine;

/** What an engine generated, and how fast. */
public final class Generated {
    /** Why a reply ended. */
    public enum Ending {
        /** The model ended it. */
        COMPLETE,
        /** {@link Engine#stop}, or its listener. */
        STOPPED,
        /** The context is full. */
        FULL
    }

    /** Its text, without what ended it. */
    public final String text;

    public final Ending ending;

    /** Tokens of the prompt, or -1 where the runtime doesn't say. */
    public final int promptTokens;

    /** Tokens of the reply, its end included. */
    public final int tokens;

    /** From the call to the first text. */
    public final double firstSeconds;

    /** Tokens per second after the first; 0 where there was only one. */
    public final double tokensPerSecond;

    public Generated(String text, Ending ending, int promptTokens, int tokens, double firstSeconds,
            double tokensPerSecond) {
        this.text = text;
        this.ending = ending;
        this.promptTokens = promptTokens;
        this.tokens = tokens;
        this.firstSeconds = firstSeconds;
        this.tokensPerSecond = tokensPerSecond;
    }
}
