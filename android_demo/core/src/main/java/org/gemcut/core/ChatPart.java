package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The texts between a chat's parts, and what becomes of those that are texts. */
final class ChatPart {
    private static final List<String> FROM =
            Arrays.asList("start", "system", "tools", "user", "assistant", "call", "words", "result");
    private static final List<String> TO = Arrays.asList(
            "system", "tools", "user", "assistant", "call", "words", "result", "generation", "end");

    /** What becomes of a text before it is written. */
    private static final class Body {
        String trim;
        final Map<String, String> after = new HashMap<String, String>();
        String empty;
        final List<String[]> remove = new ArrayList<String[]>();
    }

    private final Map<String, Map<String, String>> joints = new HashMap<String, Map<String, String>>();
    private final Map<String, Body> bodies = new HashMap<String, Body>();

    private ChatPart() {}

    static ChatPart of(Fields from) throws BundleException {
        ChatPart found = new ChatPart();
        for (Map.Entry<String, JsonElement> one : from.named("joints").entrySet()) {
            known(one.getKey(), FROM, from.where("joints"));
            Map<String, String> texts = new HashMap<String, String>();
            String where = from.where("joints." + one.getKey());
            JsonObject to = Json.object(one.getValue(), where);
            for (Map.Entry<String, JsonElement> text : to.entrySet()) {
                known(text.getKey(), TO, where);
                texts.put(text.getKey(), Json.string(to, text.getKey(), where));
            }
            found.joints.put(one.getKey(), texts);
        }
        for (Map.Entry<String, JsonElement> one : from.named("bodies").entrySet()) {
            known(one.getKey(), Arrays.asList("system", "user", "assistant", "words"), from.where("bodies"));
            found.bodies.put(one.getKey(), body(new Fields(one.getValue(), from.where("bodies." + one.getKey()))));
        }
        from.done();
        return found;
    }

    static void known(String name, List<String> names, String where) throws BundleException {
        if (!names.contains(name)) {
            throw BundleException.damaged(where + "." + name + " is not known");
        }
    }

    private static Body body(Fields from) throws BundleException {
        Body body = new Body();
        body.trim = from.oneOf("trim", "none", "start", "end", "both");
        body.empty = from.oneOf("empty", "keep", "drop", "refuse");
        Fields after = from.fields("after");
        for (String kind : from.named("after").keySet()) {
            known(kind, FROM, from.where("after"));
            body.after.put(kind, after.oneOf(kind, "none", "start", "end", "both"));
        }
        for (Fields channel : from.list("remove")) {
            body.remove.add(new String[] {channel.string("open"), channel.string("close")});
            channel.done();
        }
        for (String[] channel : body.remove) {
            if (channel[0].isEmpty() || channel[1].isEmpty()) {
                throw BundleException.damaged(from.where("remove") + " has an empty text");
            }
        }
        from.done();
        return body;
    }

    /** What stands between two kinds of segments. Refused where the template takes no such order. */
    String joint(String before, String after) throws BundleException {
        String found = joints.containsKey(before) ? joints.get(before).get(after) : null;
        if (found == null) {
            throw Writer.refused("the chat template doesn't take " + spoken(after) + " after " + spoken(before));
        }
        return found;
    }

    static String spoken(String kind) {
        return kind.equals("start") ? "the start"
                : kind.equals("system") ? "a system message"
                : kind.equals("tools") ? "tool declarations"
                : kind.equals("user") ? "a user's message"
                : kind.equals("assistant") ? "an assistant's message"
                : kind.equals("call") ? "tool calls"
                : kind.equals("words") ? "words beside tool calls"
                : kind.equals("result") ? "a tool's result"
                : kind.equals("generation") ? "the model's answer" : "the end";
    }

    /** A text as it is written after a segment of the kind before; null where it is dropped. */
    String text(String kind, String text, String before) throws BundleException {
        Body body = bodies.get(kind);
        if (body == null) {
            throw Writer.refused("the chat template doesn't take " + spoken(kind));
        }
        String left = PromptText.trim(withoutChannels(kind, text),
                body.after.containsKey(before) ? body.after.get(before) : body.trim);
        if (left.isEmpty() && body.empty.equals("refuse")) {
            throw Writer.refused(spoken(kind) + " is empty: what the template does then isn't compiled");
        }
        return left.isEmpty() && body.empty.equals("drop") ? null : left;
    }

    /** A text without what the template takes out of those of its kind. */
    String withoutChannels(String kind, String text) {
        Body body = bodies.get(kind);
        for (String[] channel : body == null ? new ArrayList<String[]>() : body.remove) {
            text = removed(text, channel[0], channel[1]);
        }
        return text;
    }

    /** The opening and closing text of what is taken out of texts of a kind first; null where nothing is. */
    String[] channel(String kind) {
        Body body = bodies.get(kind);
        return body == null || body.remove.isEmpty() ? null : body.remove.get(0);
    }

    private static String removed(String text, String open, String close) {
        StringBuilder out = new StringBuilder();
        int at = 0;
        while (at <= text.length()) {
            int end = text.indexOf(close, at);
            String piece = text.substring(at, end < 0 ? text.length() : end);
            int begin = piece.indexOf(open);
            out.append(begin < 0 ? piece : piece.substring(0, begin));
            at = end < 0 ? text.length() + 1 : end + close.length();
        }
        return out.toString();
    }

    /** All that stands between a chat and the model's answer, the longest first. */
    static List<String> lastTexts(ChatPart... parts) {
        Set<String> found = new TreeSet<String>(new Comparator<String>() {
            @Override
            public int compare(String one, String other) {
                int longer = other.length() - one.length();
                return longer != 0 ? longer : PromptText.compare(one, other);
            }
        });
        for (ChatPart part : parts) {
            for (Map<String, String> row : part == null ? new ArrayList<Map<String, String>>() : part.joints.values()) {
                if (row.containsKey("generation")) {
                    found.add(row.get("generation"));
                }
            }
        }
        return new ArrayList<String>(found);
    }
}
