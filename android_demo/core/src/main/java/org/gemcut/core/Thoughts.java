package org.gemcut.core;

/**
 * Tells a reply's thoughts from its words, as it is written or whole: thoughts are what the template takes out of
 * earlier answers.
 *
 * <p>What could be the beginning of a mark is held back until that is decided; the channel's name isn't passed on.
 */
public final class Thoughts {
    /** Hears a reply as far as it can be told. */
    public interface Listener {
        /** More of the words, or of the thought at hand; never empty. */
        void onPiece(String piece, boolean thought);
    }

    /** A whole reply. */
    public static final class Told {
        /** For people. */
        public final String words;

        /** Without white space around each, an empty line between two; empty where there are none. */
        public final String thoughts;

        Told(String words, String thoughts) {
            this.words = words;
            this.thoughts = thoughts;
        }
    }

    private final String open;
    private final String close;
    private final String name;
    private final Listener listener;
    private final StringBuilder held = new StringBuilder();
    private boolean thought;
    private boolean named = true;
    private int count;

    /**
     * Of a reply that is about to come.
     *
     * @param begun what the prompt itself began: see {@link Prompt#thoughtBegun}
     */
    public Thoughts(Prompt prompt, String begun, Listener listener) {
        String[] channel = prompt.channel();
        open = channel == null ? null : channel[0];
        close = channel == null ? null : channel[1];
        name = prompt.thoughtName();
        this.listener = listener;
        held.append(channel == null ? "" : begun);
    }

    /** Takes more of the reply. */
    public void add(String text) {
        held.append(text);
        for (int at = mark(); at >= 0; at = mark()) {
            boolean opens = !thought && held.indexOf(open, at) == at;
            pass(at);
            held.delete(0, (opens ? open : close).length());
            thought = opens;
            named = !opens;
            count += opens ? 1 : 0;
        }
        pass(held.length() - undecided());
    }

    /** The reply has ended: what was held back. */
    public void finish() {
        add("");
        pass(held.length());
    }

    /** Where the next mark is, or -1. In a thought, another beginning is a part of it. */
    private int mark() {
        if (open == null) {
            return -1;
        }
        int end = held.indexOf(close);
        int begin = thought ? -1 : held.indexOf(open);
        return begin < 0 || end >= 0 && end < begin ? end : begin;
    }

    /** Characters at the end that a mark, or the thought's name, may begin with. */
    private int undecided() {
        if (open == null) {
            return 0;
        }
        String text = held.toString();
        if (!named && name.startsWith(text)) {
            return text.length();
        }
        int most = begun(text, close);
        return thought ? most : Math.max(most, begun(text, open));
    }

    private static int begun(String text, String mark) {
        for (int size = Math.min(mark.length() - 1, text.length()); size > 0; size--) {
            if (text.endsWith(mark.substring(0, size))) {
                return size;
            }
        }
        return 0;
    }

    private void pass(int end) {
        int from = 0;
        if (thought && !named && end > 0) {
            from = held.substring(0, end).startsWith(name) ? name.length() : 0;
            named = true;
        }
        if (end > from) {
            listener.onPiece(held.substring(from, end), thought);
        }
        held.delete(0, end);
    }

    /** A whole reply taken apart. */
    public static Told tell(Prompt prompt, String text, String begun) {
        final StringBuilder words = new StringBuilder();
        final StringBuilder thoughts = new StringBuilder();
        final StringBuilder one = new StringBuilder();
        final int[] seen = {0};
        final Thoughts[] reader = new Thoughts[1];
        reader[0] = new Thoughts(prompt, begun, new Listener() {
            @Override
            public void onPiece(String piece, boolean thought) {
                if (!thought) {
                    words.append(piece);
                    return;
                }
                if (reader[0].count != seen[0]) {
                    end(thoughts, one);
                    seen[0] = reader[0].count;
                }
                one.append(piece);
            }
        });
        reader[0].add(text);
        reader[0].finish();
        end(thoughts, one);
        return new Told(words.toString(), thoughts.toString());
    }

    private static void end(StringBuilder thoughts, StringBuilder one) {
        String text = PromptText.trim(one.toString(), "both");
        one.setLength(0);
        thoughts.append(thoughts.length() > 0 && !text.isEmpty() ? "\n\n" : "").append(text);
    }
}
