package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * A bundle's chat template, compiled: turns a chat into the text that the model was trained on, without Jinja.
 *
 * <p>The format is in docs/concepts/prompt.md of Gemcut, which proves it against the template at every export.
 */
public final class Prompt {
    public static final String NAME = "prompt.json";
    private static final String FORMAT = "gemcut-prompt";
    private static final int SCHEMA_VERSION = 2;
    private final ChatPart chat;
    private final ChatPart thinking;
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
        chat = file.isNull("chat") ? null : ChatPart.of(file.fields("chat"));
        thinking = first && !file.has("thinking") || file.isNull("thinking") ? null : ChatPart.of(file.fields("thinking"));
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

    private void readTools(Fields from) throws BundleException {
        Writer.Names names = new Writer.Names();
        tools = true;
        toolsFirst = from.oneOf("place", "before-system", "after-system").equals("before-system");
        order = from.strings("order");
        for (String kind : order) {
            ChatPart.known(kind, Arrays.asList("words", "call", "result"), from.where("order"));
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
        ChatPart part = thinks ? thinking : chat;
        StringBuilder out = new StringBuilder();
        String before = "start";
        for (Segments.Segment segment : Segments.of(messages, tools, toolsFirst, order)) {
            String inner = inner(part, segment, before);
            if (inner != null) {
                out.append(part.joint(before, segment.kind)).append(inner);
                before = segment.kind;
            }
        }
        return out.append(part.joint(before, generation ? "generation" : "end")).toString();
    }

    /** What the model wrote without its thoughts: what the template takes out of earlier answers, taken out. */
    public String withoutThoughts(String text) {
        ChatPart part = hasThinking() ? thinking : chat;
        return part == null ? text : part.withoutChannels("assistant", text);
    }

    /** What thoughts stand in, its opening and its closing text; null where the template takes nothing out. */
    String[] channel() {
        ChatPart part = hasThinking() ? thinking : chat;
        return part == null ? null : part.channel("assistant");
    }

    /** What the template itself writes at a thought's beginning, such as a name and a line's end. */
    String thoughtName() {
        String[] channel = channel();
        for (String text : ChatPart.lastTexts(chat, thinking)) {
            int at = channel == null ? -1 : text.lastIndexOf(channel[0]);
            if (at >= 0) {
                int end = text.indexOf(channel[1], at);
                return text.substring(at + channel[0].length(), end < 0 ? text.length() : end);
            }
        }
        return "";
    }

    /**
     * The end of a prompt that leaves a thought open, as some templates' do after a tool's result; empty where none is
     * open.
     *
     * @param rendered the text that the model goes on from; what a person wrote in it opens nothing
     */
    public String thoughtBegun(String rendered) {
        String[] channel = channel();
        for (String text : ChatPart.lastTexts(chat, thinking)) {
            int at = channel == null ? -1 : text.lastIndexOf(channel[0]);
            if (at >= 0 && text.indexOf(channel[1], at) < 0 && rendered.endsWith(text)) {
                return text.substring(at);
            }
        }
        return "";
    }

    /** Whether a tool's result may be an object; else it is to be given as its JSON, in a text. */
    public boolean writesObjects() {
        JsonObject content = new JsonObject();
        content.addProperty("status", "ok");
        JsonObject probe = new JsonObject();
        probe.addProperty("name", "a");
        probe.add("content", content);
        try {
            if (result != null) {
                result.write(probe, new StringBuilder(), 0);
            }
            return result != null;
        } catch (BundleException error) {
            return false;
        }
    }

    /** The text of a segment; null where it is dropped. */
    private String inner(ChatPart part, Segments.Segment segment, String before) throws BundleException {
        if (!tools && !Arrays.asList("system", "user", "assistant").contains(segment.kind)) {
            throw Writer.refused(ChatPart.spoken(segment.kind) + " can't be written: " + toolsReason());
        }
        if (segment.values != null) {
            return toolText(segment);
        }
        return part.text(segment.kind, segment.text, before);
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
