package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A bundle's chat template, compiled: turns a chat into the text that the model was trained on, without Jinja.
 *
 * <p>The format is in docs/prompt.md of Gemcut, which proves it against the template at every export.
 */
public final class Prompt {
    public static final String NAME = "prompt.json";
    private static final String FORMAT = "gemcut-prompt";
    private static final int SCHEMA_VERSION = 2;
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

    /** The texts between a chat's parts, and what becomes of those that are texts. */
    private static final class Chat {
        final Map<String, Map<String, String>> joints = new HashMap<String, Map<String, String>>();
        final Map<String, Body> bodies = new HashMap<String, Body>();
    }

    private final Chat chat;
    private final Chat thinking;
    private boolean toolsFirst = true;
    private List<String> order = Arrays.asList("words", "call");
    private boolean tools;
    private String betweenDeclarations;
    private String betweenCalls;
    private Writer declaration;
    private Writer result;
    private RecordWriter call;
    private String marker;
    private final String chatReason;
    private final String toolsReason;
    private final String thinkingReason;
    private final int bosId;
    private final String bosText;
    private final boolean bosWritten;
    private final int[] stopIds;
    private final List<String> stopTexts;

    private Prompt(Fields file, boolean first) throws BundleException {
        file.oneOf("format", FORMAT);
        file.get("schema_version");
        chat = file.isNull("chat") ? null : chat(file.fields("chat"));
        thinking = first && !file.has("thinking") || file.isNull("thinking") ? null : chat(file.fields("thinking"));
        if (!file.isNull("tools")) {
            readTools(file.fields("tools"));
        }
        Fields bos = file.fields("bos");
        bosId = bos.isNull("id") ? -1 : (int) Json.whole(bos.get("id"), bos.where("id"));
        bosText = bos.stringOrNull("text");
        bosWritten = bos.bool("written");
        bos.done();
        Fields stop = file.fields("stop");
        stopIds = stop.integers("ids");
        stopTexts = Collections.unmodifiableList(stop.strings("texts"));
        stop.done();
        Fields reasons = file.fields("reasons");
        chatReason = reasons.stringOrNull("chat");
        toolsReason = reasons.stringOrNull("tools");
        boolean old = first && !reasons.has("thinking");
        thinkingReason = old ? "an older Gemcut made it" : reasons.stringOrNull("thinking");
        reasons.done();
        file.done();
        if ((tools || thinking != null) && chat == null || stopIds.length != stopTexts.size()) {
            throw BundleException.damaged(NAME + ": its parts don't fit together");
        }
    }

    private static Chat chat(Fields from) throws BundleException {
        Chat found = new Chat();
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

    private static void known(String name, List<String> names, String where) throws BundleException {
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

    private void readTools(Fields from) throws BundleException {
        Writer.Names names = new Writer.Names();
        tools = true;
        toolsFirst = from.oneOf("place", "before-system", "after-system").equals("before-system");
        order = from.strings("order");
        for (String kind : order) {
            known(kind, Arrays.asList("words", "call", "result"), from.where("order"));
        }
        marker = from.string("marker");
        betweenDeclarations = from.string("between_declarations");
        betweenCalls = from.string("between_calls");
        declaration = Writer.of(from.get("declaration"), from.where("declaration"), names);
        result = Writer.of(from.get("result"), from.where("result"), names);
        Writer calls = Writer.of(from.get("call"), from.where("call"), names);
        for (Map.Entry<String, JsonElement> one : from.named("writers").entrySet()) {
            names.writers.put(one.getKey(), Writer.of(one.getValue(), from.where("writers." + one.getKey()), names));
        }
        if (!(calls instanceof RecordWriter) || !(result instanceof RecordWriter) || marker.isEmpty()) {
            throw BundleException.damaged(from.where("call") + " and result should be records, with a marker");
        }
        call = (RecordWriter) calls;
        from.done();
    }

    /** Reads a bundle's prompt.json. */
    public static Prompt read(Bundle bundle) throws BundleException {
        if (!bundle.has(NAME)) {
            throw new BundleException(
                    BundleException.Kind.UNSUPPORTED,
                    bundle.title() + " has no " + NAME + ": it was made by an older Gemcut, or of a base model",
                    "export it again with this Gemcut");
        }
        return read(bundle.text(NAME));
    }

    /** Reads the content of a prompt.json. */
    public static Prompt read(String json) throws BundleException {
        JsonElement found = Json.parse(json, NAME);
        JsonObject object = Json.object(found, NAME);
        long version = Json.whole(object.get("schema_version"), NAME + ": schema_version");
        if (version > SCHEMA_VERSION) {
            throw new BundleException(
                    BundleException.Kind.NEWER,
                    NAME + " has schema version " + version + "; this app reads up to " + SCHEMA_VERSION,
                    "update this app, or export the bundle with an older Gemcut");
        } else if (version < 1) {
            throw BundleException.damaged(NAME + " has schema version " + version);
        }
        return new Prompt(new Fields(found, NAME), version == 1);
    }

    /** Whether chats can be rendered; else {@link #chatReason} says why not. */
    public boolean hasChat() {
        return chat != null;
    }

    /** Why chats can't be rendered; empty where they can. */
    public String chatReason() {
        return chatReason == null ? "" : chatReason;
    }

    /** Whether tools can be declared and called; else {@link #toolsReason} says why not. */
    public boolean hasTools() {
        return tools;
    }

    /** Why there are no tools; empty where there are. */
    public String toolsReason() {
        return toolsReason == null ? "" : toolsReason;
    }

    /** Whether the model can be asked to think before it answers; else {@link #thinkingReason} says why not. */
    public boolean hasThinking() {
        return thinking != null;
    }

    /** Why thinking can't be turned on; empty where it can. */
    public String thinkingReason() {
        return thinkingReason == null ? "" : thinkingReason;
    }

    /** Ids that end a reply. */
    public int[] stopIds() {
        return stopIds.clone();
    }

    /** Their texts in the same order, for a runtime that gives text. */
    public List<String> stopTexts() {
        return stopTexts;
    }

    /** Every rendered text begins with the BOS, so that a runner must not add another. */
    public boolean bosWritten() {
        return bosWritten;
    }

    /** The token that begins a text, or -1 where there is none. */
    public int bosId() {
        return bosId;
    }

    /** Its text, or null. */
    public String bosText() {
        return bosText;
    }

    RecordWriter call() {
        return call;
    }

    String marker() {
        return marker;
    }

    /** A chat's text, without thinking. */
    public String render(List<Message> messages, List<Tool> tools, boolean generation) throws BundleException {
        return render(messages, tools, generation, false);
    }

    /**
     * A chat's text.
     *
     * @param tools an empty list where there are none
     * @param generation whether the model is to answer
     * @param thinks whether it is to think before
     * @throws BundleException the template takes no such order of messages, no tools or no thinking; in words
     */
    public String render(List<Message> messages, List<Tool> tools, boolean generation, boolean thinks)
            throws BundleException {
        if (!hasChat()) {
            throw Writer.refused("this model's chat template isn't compiled: " + chatReason());
        }
        if (thinks && !hasThinking()) {
            throw Writer.refused("thinking can't be turned on: " + thinkingReason());
        }
        Chat part = thinks ? thinking : chat;
        StringBuilder out = new StringBuilder();
        String before = "start";
        for (Segments.Segment segment : Segments.of(messages, tools, toolsFirst, order)) {
            String inner = inner(part, segment, before);
            if (inner != null) {
                out.append(joint(part, before, segment.kind)).append(inner);
                before = segment.kind;
            }
        }
        return out.append(joint(part, before, generation ? "generation" : "end")).toString();
    }

    /** What the model wrote without its thoughts: what the template takes out of earlier answers, taken out. */
    public String withoutThoughts(String text) {
        Chat part = hasThinking() ? thinking : chat;
        Body body = part == null ? null : part.bodies.get("assistant");
        if (body != null) {
            for (String[] channel : body.remove) {
                text = removed(text, channel[0], channel[1]);
            }
        }
        return text;
    }

    private static String joint(Chat part, String before, String after) throws BundleException {
        String found = part.joints.containsKey(before) ? part.joints.get(before).get(after) : null;
        if (found == null) {
            throw Writer.refused("the chat template doesn't take " + spoken(after) + " after " + spoken(before));
        }
        return found;
    }

    private static String spoken(String kind) {
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

    /** The text of a segment; null where it is dropped. */
    private String inner(Chat part, Segments.Segment segment, String before) throws BundleException {
        if (!tools && !Arrays.asList("system", "user", "assistant").contains(segment.kind)) {
            throw Writer.refused(spoken(segment.kind) + " can't be written: " + toolsReason());
        }
        if (segment.values != null) {
            return toolText(segment);
        }
        Body body = part.bodies.get(segment.kind);
        if (body == null) {
            throw Writer.refused("the chat template doesn't take " + spoken(segment.kind));
        }
        String text = segment.text;
        for (String[] channel : body.remove) {
            text = removed(text, channel[0], channel[1]);
        }
        text = PromptText.trim(text, body.after.containsKey(before) ? body.after.get(before) : body.trim);
        if (text.isEmpty() && body.empty.equals("refuse")) {
            throw Writer.refused(spoken(segment.kind) + " is empty: what the template does then isn't compiled");
        }
        return text.isEmpty() && body.empty.equals("drop") ? null : text;
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

    private String toolText(Segments.Segment segment) throws BundleException {
        boolean calls = segment.kind.equals("call");
        Writer writer = calls ? call : segment.kind.equals("tools") ? declaration : result;
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < segment.values.size(); i++) {
            out.append(i == 0 ? "" : calls ? betweenCalls : betweenDeclarations);
            writer.write(segment.values.get(i), out, 0);
        }
        return out.toString();
    }
}
