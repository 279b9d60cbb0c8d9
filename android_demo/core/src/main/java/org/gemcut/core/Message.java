package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** One message of a chat. */
public final class Message {
    /** Who speaks. A tool's message is what it gave back. */
    public enum Role {
        SYSTEM, USER, ASSISTANT, TOOL
    }

    public final Role role;

    /** What it says: text, or whatever a tool gave back; JSON null where an assistant only calls tools. */
    public final JsonElement content;

    /** An assistant's calls; empty where it made none. */
    public final List<ToolCall> calls;

    /** Of a tool's message: which tool, or null where the call says so. */
    public final String name;

    /** Of a tool's message: the id of its call, or null. */
    public final String callId;

    private Message(Role role, JsonElement content, List<ToolCall> calls, String name, String callId) {
        this.role = role;
        this.content = content;
        this.calls = Collections.unmodifiableList(new ArrayList<ToolCall>(calls));
        this.name = name;
        this.callId = callId;
    }

    private static Message plain(Role role, String text) {
        return new Message(role, new JsonPrimitive(text), Collections.<ToolCall>emptyList(), null, null);
    }

    public static Message system(String text) {
        return plain(Role.SYSTEM, text);
    }

    public static Message user(String text) {
        return plain(Role.USER, text);
    }

    public static Message assistant(String text) {
        return plain(Role.ASSISTANT, text);
    }

    /** An assistant that calls tools; text is null or empty where it says nothing beside. */
    public static Message assistant(String text, List<ToolCall> calls) {
        boolean silent = text == null || text.isEmpty() && !calls.isEmpty();
        JsonElement content = silent ? JsonNull.INSTANCE : new JsonPrimitive(text);
        return new Message(Role.ASSISTANT, content, calls, null, null);
    }

    /** What a tool gave back, as JSON. It stands after the message with its call. */
    public static Message result(String name, JsonElement content) {
        return new Message(Role.TOOL, content, Collections.<ToolCall>emptyList(), name, null);
    }

    /** What a tool gave back, as text. */
    public static Message result(String name, String content) {
        return result(name, new JsonPrimitive(content));
    }

    /** Its words; empty where it has none, or where a tool gave back something else than text. */
    public String text() {
        return Json.isString(content) ? content.getAsString() : "";
    }

    /**
     * A message in OpenAI's form, as a golden has it.
     *
     * @throws BundleException it has another role, or members that no compiled template takes
     */
    public static Message of(JsonElement json) throws BundleException {
        if (json == null || !json.isJsonObject()) {
            throw Writer.refused("a message should be an object");
        }
        JsonObject object = json.getAsJsonObject();
        Role role = role(object.get("role"));
        String who = "a message (" + role.name().toLowerCase(java.util.Locale.ROOT) + ")";
        String[] known = role == Role.ASSISTANT ? new String[] {"role", "content", "tool_calls"}
                : role == Role.TOOL ? new String[] {"role", "content", "name", "tool_call_id"}
                : new String[] {"role", "content"};
        only(object, who, known);
        List<ToolCall> calls = new ArrayList<ToolCall>();
        if (!Json.isNull(object.get("tool_calls"))) {
            if (!object.get("tool_calls").isJsonArray()) {
                throw Writer.refused(who + ": its tool_calls are no list");
            }
            for (JsonElement one : object.get("tool_calls").getAsJsonArray()) {
                calls.add(call(one));
            }
        }
        JsonElement content = object.has("content") ? object.get("content") : JsonNull.INSTANCE;
        if (role != Role.TOOL && !Json.isString(content) && (calls.isEmpty() || !content.isJsonNull())) {
            throw Writer.refused(who + ": its content is " + (content.isJsonNull() ? "missing" : "not text"));
        }
        return new Message(role, content, calls, text(object, "name"), text(object, "tool_call_id"));
    }

    private static Role role(JsonElement name) throws BundleException {
        for (Role role : Role.values()) {
            if (Json.isString(name) && name.getAsString().equals(role.name().toLowerCase(java.util.Locale.ROOT))) {
                return role;
            }
        }
        throw Writer.refused("a message has the role " + name + "; known are system, user, assistant and tool");
    }

    private static void only(JsonObject object, String who, String... known) throws BundleException {
        for (Map.Entry<String, JsonElement> one : object.entrySet()) {
            if (!one.getValue().isJsonNull() && !Arrays.asList(known).contains(one.getKey())) {
                throw Writer.refused(who + " can't carry " + Words.quoted(one.getKey()));
            }
        }
    }

    private static String text(JsonObject object, String key) throws BundleException {
        JsonElement value = object.get(key);
        if (!Json.isNull(value) && !Json.isString(value)) {
            throw Writer.refused("a message's " + key + " should be text");
        }
        return Json.isNull(value) ? null : value.getAsString();
    }

    private static ToolCall call(JsonElement json) throws BundleException {
        JsonElement function = json.isJsonObject() ? json.getAsJsonObject().get("function") : null;
        if (function == null || !function.isJsonObject()) {
            throw Writer.refused("a tool call has no 'function'");
        }
        only(json.getAsJsonObject(), "a tool call", "id", "type", "function");
        only(function.getAsJsonObject(), "a tool call", "name", "arguments");
        JsonElement name = function.getAsJsonObject().get("name");
        JsonElement arguments = function.getAsJsonObject().get("arguments");
        if (!Json.isString(name) || arguments == null || !arguments.isJsonObject()) {
            throw Writer.refused("a tool call has a 'name' and 'arguments', which are an object");
        }
        return new ToolCall(name.getAsString(), arguments.getAsJsonObject(), text(json.getAsJsonObject(), "id"));
    }
}
