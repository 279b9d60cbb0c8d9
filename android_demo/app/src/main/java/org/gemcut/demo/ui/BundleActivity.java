package org.gemcut.demo.ui;

import android.app.AlertDialog;
import android.content.DialogInterface;
import android.content.Intent;
import android.os.Bundle;
import android.view.View;
import org.gemcut.core.BundleException;
import org.gemcut.core.Manifest;
import org.gemcut.demo.R;
import org.gemcut.demo.session.Words;

/** What a bundle says about itself, after every byte of it was checked; and what can be done with it. */
public final class BundleActivity extends Screen {
    private String sha256;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.bundle);
        sha256 = getIntent().getStringExtra(BUNDLE);
        go(R.id.chat, ChatActivity.class);
        go(R.id.prove, ProveActivity.class);
        button(R.id.remove).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                askToRemove();
            }
        });
        work(new Work() {
            @Override
            public void run() throws BundleException {
                final Manifest manifest = app().open(sha256, progress(R.id.progress, R.id.about, new Label() {
                    @Override
                    public String of(long done, long total, String what) {
                        return getString(R.string.checking);
                    }
                })).manifest();
                later(new Runnable() {
                    @Override
                    public void run() {
                        show(manifest);
                    }
                });
            }
        });
    }

    private void go(int id, final Class<? extends Screen> where) {
        button(id).setOnClickListener(new View.OnClickListener() {
            @Override
            public void onClick(View view) {
                startActivity(new Intent(BundleActivity.this, where).putExtra(BUNDLE, sha256));
            }
        });
    }

    private void show(Manifest manifest) {
        setTitle(manifest.model);
        text(R.id.about).setText(Words.of(manifest));
        show(R.id.progress, false);
        button(R.id.chat).setEnabled(true);
        button(R.id.prove).setEnabled(true);
    }

    private void askToRemove() {
        new AlertDialog.Builder(this)
                .setMessage(R.string.remove_question)
                .setNegativeButton(R.string.cancel, null)
                .setPositiveButton(R.string.remove, new DialogInterface.OnClickListener() {
                    @Override
                    public void onClick(DialogInterface dialog, int which) {
                        remove();
                    }
                })
                .show();
    }

    private void remove() {
        work(new Work() {
            @Override
            public void run() throws BundleException {
                app().remove(sha256);
                later(new Runnable() {
                    @Override
                    public void run() {
                        finish();
                    }
                });
            }
        });
    }

    @Override
    void failed(BundleException error) {
        show(R.id.progress, false);
        text(R.id.about).setText(words(error));
    }
}
