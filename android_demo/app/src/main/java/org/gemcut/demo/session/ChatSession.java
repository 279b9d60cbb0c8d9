package org.gemcut.demo.session;

import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.Message;
import org.gemcut.core.Prompt;
import org.gemcut.core.Reply;
import org.gemcut.core.Thoughts;
import org.gemcut.core.Tool;
import org.gemcut.core.ToolCall;
import org.gemcut.core.ToolCalls;
import org.gemcut.demo.bundle.CheckedBundle;
import org.gemcut.demo.engine.Engine;
import org.gemcut.demo.engine.Generated;

/**
 * One chat: the person's words are rendered with the bundle's own template, the reply streams, its tool calls are done
 * after the person agreed, and what they gave goes back to the model until it answers in words.
 *
 * <p>One thread uses it; only {@link #stop} may come from another.
 */
public final class ChatSession {
    /** A model that calls tools without end is stopped after so many replies. */
    private static final int ROUNDS = 6;

    /** Watches a chat, on the thread that it runs on. */
    public interface Listener {
        /** More of the reply as the model writes it, up to its first tool call. */
        void onText(String piece);

        /** More of what the model thinks before it answers, or in between. */
        void onThought(String piece);

        /** The reply is there: words, thoughts, and the calls that follow. Replaces what was heard of it so far. */
        void onReply(String words, String thoughts, List<ToolCall> calls, Generated generated);

        /** A call was done, refused or failed: the result that the model is told. */
        void onResult(ToolCall call, JsonObject result);
    }

    /** Asks the person. */
    public interface Confirmation {
        /** Waits for the answer; false where there can't be any. */
        boolean agrees(ToolCall call, String question);
    }

    private final Engine engine;
    private final Prompt prompt;
    private final List<Tool> tools;
    private final PhoneActions phone;
    private final Confirmation confirmation;
    private List<Message> messages = new ArrayList<Message>();
    private volatile boolean stopped;
    private volatile boolean thinks;

    /**
     * Begins a chat.
     *
     * @param engine open, with that bundle
     * @param tools declared to the model, where its template has a place for them
     * @throws BundleException the bundle can't chat: it has no template, or one that couldn't be compiled
     */
    public ChatSession(CheckedBundle bundle, Engine engine, List<Tool> tools, PhoneActions phone,
            Confirmation confirmation) throws BundleException {
        if (!bundle.bundle().has(Prompt.NAME)) {
            throw new BundleException(BundleException.Kind.UNSUPPORTED,
                    "this bundle has no " + Prompt.NAME + ", so the app can't write its prompts",
                    "export it again with a newer Gemcut");
        }
        this.prompt = Prompt.read(bundle.bundle());
        if (!prompt.hasChat()) {
            throw new BundleException(BundleException.Kind.UNSUPPORTED,
                    "this bundle can't chat: " + prompt.chatReason(), "it can still be proven on this phone");
        }
        this.engine = engine;
        this.tools = prompt.hasTools() ? new ArrayList<Tool>(tools) : new ArrayList<Tool>();
        this.phone = phone;
        this.confirmation = confirmation;
    }

    /** Why the model is told of no tools; empty where it is. */
    public String toolsReason() {
        return prompt.hasTools() ? "" : prompt.toolsReason();
    }

    /** Whether the model can be asked to think before it answers. */
    public boolean hasThinking() {
        return prompt.hasThinking();
    }

    /** Has the model think before its next answers, or not; for a model that can't, this does nothing. */
    public void think(boolean on) {
        thinks = on && prompt.hasThinking();
    }

    /** All messages so far; an answer's thoughts are none of it. */
    public List<Message> messages() {
        return Collections.unmodifiableList(messages);
    }

    /** Forgets all messages. */
    public void clear() {
        messages = new ArrayList<Message>();
    }

    /** The text that the model is given for these messages. */
    public String render(List<Message> chat, List<Tool> declared, boolean thinking) throws BundleException {
        String text = prompt.render(chat, declared, true, thinking);
        String begins = prompt.bosText();
        boolean missing = begins != null && !prompt.bosWritten() && !text.startsWith(begins);
        return missing ? begins + text : text;
    }

    /**
     * Says something to the model, and waits for the end of its answer, tool calls included.
     *
     * @throws BundleException the context is full, the program failed, or a tool call can't be read; the chat is then
     *     as it was before
     */
    public void send(String words, Listener listener) throws BundleException {
        List<Message> chat = new ArrayList<Message>(messages);
        stopped = false;
        chat.add(Message.user(words));
        for (int round = 0; round < ROUNDS; round++) {
            String rendered = render(chat, tools, thinks);
            Generated generated = generate(rendered, listener);
            boolean whole = generated.ending == Generated.Ending.COMPLETE;
            Thoughts.Told told = Thoughts.tell(prompt, generated.text, prompt.thoughtBegun(rendered));
            Reply reply = whole ? ToolCalls.split(prompt, told.words) : null;
            if (reply == null || reply.calls.isEmpty()) {
                String text = reply == null ? shown(told.words) : reply.text;
                if (whole || !text.trim().isEmpty()) { // else nothing was said: the question is taken back too
                    chat.add(Message.assistant(text));
                    messages = chat;
                }
                listener.onReply(text, told.thoughts, Collections.<ToolCall>emptyList(), generated);
                return;
            }
            chat.add(Message.assistant(reply.text, reply.calls));
            listener.onReply(reply.text, told.thoughts, reply.calls, generated);
            for (ToolCall call : reply.calls) {
                JsonObject result = perform(call);
                chat.add(prompt.writesObjects() ? Message.result(call.name, result)
                        : Message.result(call.name, result.toString()));
                listener.onResult(call, result);
            }
            if (stopped) {
                messages = chat;
                return;
            }
        }
        throw new BundleException(BundleException.Kind.RUNTIME,
                "the model called tools " + ROUNDS + " times without an answer", "ask in other words");
    }

    /** What of an unfinished reply is words: a call that broke off is nobody's to read. */
    private String shown(String text) {
        return text.substring(0, ToolCalls.shown(prompt, text));
    }

    private Generated generate(String rendered, final Listener listener) throws BundleException {
        if (stopped) {
            throw new BundleException(BundleException.Kind.STOPPED, "stopped", "");
        }
        final Thoughts thoughts = new Thoughts(prompt, prompt.thoughtBegun(rendered), new Thoughts.Listener() {
            private final StringBuilder text = new StringBuilder();
            private int told;

            @Override
            public void onPiece(String piece, boolean thought) {
                if (thought) {
                    listener.onThought(piece);
                    return;
                }
                text.append(piece);
                int shown = ToolCalls.shown(prompt, text.toString());
                if (shown > told) {
                    listener.onText(text.substring(told, shown));
                    told = shown;
                }
            }
        });
        return engine.generate(rendered, prompt.stopTexts(), new Engine.Listener() {
            @Override
            public boolean onText(String piece) {
                thoughts.add(piece);
                return !stopped;
            }
        });
    }

    /** Does one call, if it can be understood and the person agrees; returns what the model is told. */
    private JsonObject perform(ToolCall call) {
        try {
            PhoneTools.Action action = PhoneTools.read(call);
            if (stopped || !confirmation.agrees(call, action.question())) {
                return PhoneTools.status("refused");
            }
            action.perform(phone);
            return PhoneTools.status("ok");
        } catch (PhoneActions.Failed error) {
            return PhoneTools.failed(error.getMessage());
        }
    }

    /** Ends the reply in progress, and does none of its calls. */
    public void stop() {
        stopped = true;
        engine.stop();
    }
}
