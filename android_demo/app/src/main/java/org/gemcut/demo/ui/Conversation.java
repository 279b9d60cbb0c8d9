package org.gemcut.demo.ui;

import android.content.Context;
import com.google.gson.JsonObject;
import java.util.List;
import org.gemcut.core.BundleException;
import org.gemcut.core.Progress;
import org.gemcut.core.Prompt;
import org.gemcut.core.ToolCall;
import org.gemcut.demo.R;
import org.gemcut.demo.bundle.CheckedBundle;
import org.gemcut.demo.engine.Generated;
import org.gemcut.demo.session.ChatSession;
import org.gemcut.demo.session.Memory;
import org.gemcut.demo.session.PhoneTools;
import org.gemcut.demo.session.Words;

/** A chat as it is shown: it goes on while its screen is turned, or made anew. */
final class Conversation implements ChatSession.Listener, ChatSession.Confirmation {
    /** The screen that shows it; there may be none. On the worker. */
    interface Viewer {
        void changed();

        /** Waits for the person. */
        boolean agrees(String question);
    }

    private static final String GAP = "\n\n";

    final String sha256;

    private final DemoApp app;
    private final StringBuffer transcript = new StringBuffer();
    private volatile String status = "";
    private volatile boolean busy;
    private volatile ChatSession session;
    private volatile Viewer viewer;
    private volatile boolean hasThinking;
    private volatile boolean thinks;
    private int writing; // where the reply in progress begins
    private boolean thinking; // the reply in progress is at a thought

    Conversation(DemoApp app, String sha256) {
        this.app = app;
        this.sha256 = sha256;
    }

    void view(Viewer now) {
        viewer = now;
    }

    String transcript() {
        return transcript.toString();
    }

    String status() {
        return status;
    }

    boolean busy() {
        return busy;
    }

    /** Whether this model can think before it answers: known after {@link #open}. */
    boolean hasThinking() {
        return hasThinking;
    }

    boolean thinks() {
        return thinks;
    }

    void think(boolean on) {
        thinks = on;
    }

    /** Looks into the bundle before anything is said, for what this model can do; on the worker. */
    void open() {
        try {
            hasThinking = Prompt.read(app.open(sha256, Progress.NONE).bundle()).hasThinking();
        } catch (BundleException error) {
            status = Words.of(error);
        }
        changed();
    }

    /** Says something to the model; on the worker. */
    void send(String words) {
        say(R.string.you, words);
        busy = true;
        writing = transcript.length();
        thinking = false;
        changed();
        try {
            ChatSession chat = session();
            chat.think(thinks);
            chat.send(words, this);
        } catch (BundleException error) {
            transcript.setLength(writing);
            status = Words.of(error);
        } finally {
            busy = false;
            changed();
        }
    }

    private ChatSession session() throws BundleException {
        if (session == null) {
            CheckedBundle bundle = app.open(sha256, Progress.NONE);
            AndroidPhone phone = new AndroidPhone(app, this);
            session = new ChatSession(bundle, app.engine(), PhoneTools.declarations(), phone, this);
            status = session.toolsReason();
        }
        return session;
    }

    void stop() {
        ChatSession now = session;
        if (now != null) {
            now.stop();
        }
    }

    /** Begins anew; on the worker. */
    void clear() {
        transcript.setLength(0);
        status = "";
        if (session != null) {
            session.clear();
        }
        changed();
    }

    private void say(int format, Object... words) {
        transcript.append(app.getString(format, words)).append(GAP);
    }

    private void changed() {
        Viewer now = viewer;
        if (now != null) {
            now.changed();
        }
    }

    @Override
    public void onText(String piece) {
        transcript.append(thinking ? GAP : "").append(piece);
        thinking = false;
        changed();
    }

    @Override
    public void onThought(String piece) {
        transcript.append(thinking ? "" : app.getString(R.string.thoughts, "")).append(piece);
        thinking = true;
        changed();
    }

    @Override
    public void onReply(String words, String thoughts, List<ToolCall> calls, Generated generated) {
        transcript.setLength(writing);
        thinking = false;
        if (!thoughts.isEmpty()) {
            say(R.string.thoughts, thoughts);
        }
        if (!words.trim().isEmpty()) {
            say(R.string.model, words.trim());
        }
        for (ToolCall call : calls) {
            say(R.string.calls, call);
        }
        writing = transcript.length();
        status = Words.of(generated, Memory.now());
        changed();
    }

    @Override
    public void onResult(ToolCall call, JsonObject result) {
        say(R.string.gave, call.name, result);
        writing = transcript.length();
        changed();
    }

    @Override
    public boolean agrees(ToolCall call, String question) {
        Viewer now = viewer;
        return now != null && now.agrees(question);
    }

    /** The screen that an action may start another app from, or null. */
    Context screen() {
        Viewer now = viewer;
        return now instanceof Context ? (Context) now : null;
    }
}
