package org.gemcut.core;

import java.util.ArrayList;
import java.util.List;

/**
 * Passes text on as it comes, up to the first stop text. What may be a stop text's beginning is held back until that is
 * decided: a person never sees half of one.
 */
public final class StopFilter {
    private final List<String> stops = new ArrayList<String>();
    private final StringBuilder text = new StringBuilder();
    private int passed;
    private boolean ended;

    /** Filters a reply that these texts end ({@link Prompt#stopTexts}). */
    public StopFilter(List<String> stopTexts) {
        for (String stop : stopTexts) {
            if (!stop.isEmpty()) {
                stops.add(stop);
            }
        }
    }

    /** Takes a piece; returns what of the text so far may be shown now, empty for nothing. */
    public String take(String piece) {
        if (ended) {
            return "";
        }
        int from = Math.max(0, text.length() - longest() + 1);
        text.append(piece);
        int end = firstStop(from);
        if (end >= 0) {
            ended = true;
            text.setLength(end);
        }
        return pass(ended ? text.length() : text.length() - undecided());
    }

    /** The text has ended by itself: what was held back. */
    public String rest() {
        return pass(text.length());
    }

    /** Whether a stop text has come. */
    public boolean ended() {
        return ended;
    }

    /** All of the text so far, without what ended it. */
    public String text() {
        return text.toString();
    }

    private String pass(int to) {
        if (to <= passed) {
            return "";
        }
        String piece = text.substring(passed, to);
        passed = to;
        return piece;
    }

    private int longest() {
        int most = 1;
        for (String stop : stops) {
            most = Math.max(most, stop.length());
        }
        return most;
    }

    private int firstStop(int from) {
        int first = -1;
        for (String stop : stops) {
            int at = text.indexOf(stop, from);
            if (at >= 0 && (first < 0 || at < first)) {
                first = at;
            }
        }
        return first;
    }

    /** Characters at the end that a stop text may begin with. */
    private int undecided() {
        int most = 0;
        for (String stop : stops) {
            for (int length = Math.min(stop.length() - 1, text.length() - passed); length > most; length--) {
                if (text.lastIndexOf(stop.substring(0, length)) == text.length() - length) {
                    most = length;
                }
            }
        }
        return most;
    }
}
