package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;

/** Tool calls out of what a model wrote, in the form that the bundle's own template has. */
public final class ToolCalls {
    private ToolCalls() {}

    /**
     * All calls in a text, in order; empty where it holds none.
     *
     * @throws BundleException a call is malformed; the message says where
     */
    public static List<ToolCall> parse(Prompt prompt, String text) throws BundleException {
        return split(prompt, text).calls;
    }

    /** The calls, and the words around them. A model without tools makes no calls. */
    public static Reply split(Prompt prompt, String text) throws BundleException {
        List<ToolCall> calls = new ArrayList<ToolCall>();
        StringBuilder words = new StringBuilder();
        int at = 0;
        while (prompt.hasTools()) {
            int begin = text.indexOf(prompt.marker(), at);
            if (begin < 0) {
                break;
            }
            words.append(text, at, begin);
            CallReader reader = new CallReader(text, begin);
            calls.add(call(reader, prompt, text));
            at = reader.at();
        }
        words.append(text, at, text.length());
        return new Reply(PromptText.trim(words.toString(), "both"), calls);
    }

    /** How much of a text that is still being written can be shown: all before a call, or what may become one. */
    public static int shown(Prompt prompt, String text) {
        if (!prompt.hasTools()) {
            return text.length();
        }
        String marker = prompt.marker();
        int begin = text.indexOf(marker);
        if (begin >= 0) {
            return begin;
        }
        for (int length = Math.min(marker.length() - 1, text.length()); length > 0; length--) {
            if (marker.startsWith(text.substring(text.length() - length))) {
                return text.length() - length;
            }
        }
        return text.length();
    }

    private static ToolCall call(CallReader reader, Prompt prompt, String text) throws BundleException {
        try {
            JsonObject found = reader.record(prompt.call(), 0);
            JsonElement arguments = found.has("arguments") ? found.get("arguments") : new JsonObject();
            if (!Json.isString(found.get("name")) || !arguments.isJsonObject()) {
                throw new CallReader.Malformed(reader.at(), "a name and arguments");
            }
            return new ToolCall(found.get("name").getAsString(), arguments.getAsJsonObject());
        } catch (CallReader.Malformed error) {
            int at = text.codePointCount(0, Math.min(error.at, text.length()));
            String rest = text.substring(Math.min(error.at, text.length()));
            String seen = rest.isEmpty() ? "the end" : Words.quoted(rest.substring(0, Math.min(20, rest.length())));
            throw new BundleException(
                    BundleException.Kind.UNSUPPORTED,
                    "malformed tool call at character " + at + ": wanted " + error.getMessage() + ", found " + seen,
                    "ask again: models make mistakes",
                    error);
        }
    }
}
