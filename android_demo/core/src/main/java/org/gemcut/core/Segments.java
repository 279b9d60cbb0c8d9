package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;

/** From messages to the parts of a chat (docs/concepts/prompt.md in Gemcut). */
final class Segments {
    /** One part of a chat, before its text is trimmed or dropped. */
    static final class Segment {
        final String kind;

        /** Of system, user, assistant, words. */
        final String text;

        /** Of tools, call: each; of result: the one. */
        final List<JsonElement> values;

        Segment(String kind, String text, List<JsonElement> values) {
            this.kind = kind;
            this.text = text;
            this.values = values;
        }
    }

    private Segments() {}

    private static Segment text(String kind, Message message) {
        return new Segment(kind, message.text(), null);
    }

    static List<Segment> of(List<Message> messages, List<Tool> tools, boolean toolsFirst, List<String> order)
            throws BundleException {
        if (messages.isEmpty()) {
            throw Writer.refused("there are no messages");
        }
        List<Segment> found = new ArrayList<Segment>();
        if (!tools.isEmpty()) {
            List<JsonElement> declared = new ArrayList<JsonElement>();
            for (Tool tool : tools) {
                declared.add(tool.json);
            }
            found.add(new Segment("tools", null, declared));
        }
        boolean system = messages.get(0).role == Message.Role.SYSTEM;
        if (system) {
            found.add(toolsFirst ? found.size() : 0, text("system", messages.get(0)));
        }
        int at = system ? 1 : 0;
        while (at < messages.size()) {
            at = message(messages, at, order, found);
        }
        return found;
    }

    /** Adds the parts of one message, with its results where it has calls; returns where the next one is. */
    private static int message(List<Message> messages, int at, List<String> order, List<Segment> found)
            throws BundleException {
        Message message = messages.get(at);
        if (message.role == Message.Role.SYSTEM) {
            throw Writer.refused("message " + at + ": a system message can only be the first");
        } else if (message.role == Message.Role.TOOL) {
            throw Writer.refused("message " + at + " is the result of no call");
        } else if (message.calls.isEmpty()) {
            if (!Json.isString(message.content)) {
                throw Writer.refused("message " + at + ": its content is missing");
            }
            found.add(text(message.role == Message.Role.USER ? "user" : "assistant", message));
            return at + 1;
        }
        List<Segment> results = new ArrayList<Segment>();
        int next = at + 1;
        for (; next < messages.size() && messages.get(next).role == Message.Role.TOOL; next++) {
            results.add(result(messages.get(next), next, results.size(), message.calls));
        }
        boolean placed = false;
        for (String kind : order) {
            if (kind.equals("call")) {
                found.add(calls(message.calls));
            } else if (kind.equals("words") && Json.isString(message.content)) {
                found.add(text("words", message));
            } else if (kind.equals("result")) {
                found.addAll(results);
                placed = true;
            }
        }
        if (!placed) {
            found.addAll(results);
        }
        return next;
    }

    private static Segment calls(List<ToolCall> calls) {
        List<JsonElement> values = new ArrayList<JsonElement>();
        for (ToolCall call : calls) {
            JsonObject value = new JsonObject();
            value.addProperty("name", call.name);
            value.add("arguments", call.arguments);
            values.add(value);
        }
        return new Segment("call", null, values);
    }

    private static Segment result(Message message, int at, int index, List<ToolCall> calls) throws BundleException {
        if (index >= calls.size()) {
            throw Writer.refused("message " + at + " is the result of no call");
        }
        ToolCall call = message.callId == null ? calls.get(index) : null;
        for (ToolCall one : calls) {
            if (call == null && message.callId.equals(one.id)) {
                call = one;
            }
        }
        if (call == null) {
            throw Writer.refused("message " + at + ": there is no call with the id " + Words.quoted(message.callId));
        }
        if (message.name != null && !message.name.equals(call.name)) {
            throw Writer.refused("message " + at + " is a result of " + Words.quoted(message.name)
                    + ", but its call is of " + Words.quoted(call.name));
        }
        JsonObject value = new JsonObject();
        value.addProperty("name", call.name);
        value.add("content", message.content);
        List<JsonElement> values = new ArrayList<JsonElement>();
        values.add(value);
        return new Segment("result", null, values);
    }
}
