package org.gemcut.demo.ui;

import android.app.AlertDialog;
import android.content.DialogInterface;
import android.os.Bundle;
import android.view.View;
import android.widget.CheckBox;
import android.widget.EditText;
import android.widget.ScrollView;
import java.util.concurrent.CountDownLatch;
import org.gemcut.core.BundleException;
import org.gemcut.demo.R;

/** The chat: words stream in, the stop button ends them, and what the model wants to do is asked first. */
public final class ChatActivity extends Screen implements Conversation.Viewer {
    private Conversation conversation;
    private volatile CountDownLatch asking;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.chat);
        conversation = app().conversation(getIntent().getStringExtra(BUNDLE));
        conversation.view(this);
        button(R.id.send).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                send();
            }
        });
        button(R.id.think).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                conversation.think(((CheckBox) view).isChecked());
            }
        });
        button(R.id.stop).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                conversation.stop();
            }
        });
        button(R.id.clear).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                conversation.stop();
                work(new Work() {
                    @Override
                    public void run() {
                        conversation.clear();
                    }
                });
            }
        });
        show();
        work(new Work() {
            @Override
            public void run() {
                conversation.open();
            }
        });
    }

    private void send() {
        EditText field = (EditText) findViewById(R.id.words);
        final String words = field.getText().toString().trim();
        if (words.isEmpty() || conversation.busy()) {
            return;
        }
        field.setText("");
        work(new Work() {
            @Override
            public void run() {
                conversation.send(words);
            }
        });
    }

    @Override
    public void changed() {
        later(new Runnable() {
            @Override
            public void run() {
                show();
            }
        });
    }

    private void show() {
        text(R.id.transcript).setText(conversation.transcript());
        text(R.id.status).setText(conversation.status());
        show(R.id.think, conversation.hasThinking());
        ((CheckBox) button(R.id.think)).setChecked(conversation.thinks());
        button(R.id.send).setEnabled(!conversation.busy());
        button(R.id.stop).setEnabled(conversation.busy());
        final ScrollView scroll = (ScrollView) findViewById(R.id.scroll);
        scroll.post(new Runnable() {
            @Override
            public void run() {
                scroll.fullScroll(View.FOCUS_DOWN);
            }
        });
    }

    @Override
    public boolean agrees(final String question) {
        final CountDownLatch answered = new CountDownLatch(1);
        final boolean[] agreed = {false};
        asking = answered;
        later(new Runnable() {
            @Override
            public void run() {
                ask(question, agreed, answered);
            }
        });
        if (isDestroyed()) {
            answered.countDown();
        }
        try {
            answered.await();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        return agreed[0];
    }

    private void ask(String question, final boolean[] agreed, final CountDownLatch answered) {
        new AlertDialog.Builder(this)
                .setTitle(R.string.allow)
                .setMessage(question)
                .setNegativeButton(R.string.no, null)
                .setPositiveButton(R.string.yes, new DialogInterface.OnClickListener() {
                    @Override
                    public void onClick(DialogInterface dialog, int which) {
                        agreed[0] = true;
                    }
                })
                .setOnDismissListener(new DialogInterface.OnDismissListener() {
                    @Override
                    public void onDismiss(DialogInterface dialog) {
                        answered.countDown();
                    }
                })
                .show();
    }

    @Override
    void failed(BundleException error) {
        text(R.id.status).setText(words(error));
    }

    @Override
    protected void onDestroy() {
        conversation.view(null);
        CountDownLatch waiting = asking;
        if (waiting != null) {
            waiting.countDown(); // nobody is there to agree
        }
        super.onDestroy();
    }
}
